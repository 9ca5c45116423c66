# shellcheck shell=bash disable=SC2154  # common.sh sets what is not set here
# A real Ceph of Debian's packages on loopback, to compare with: one monitor, one manager, three OSDs on BlueStore files,
# no authentication, pool `rbd` with three copies, replicas chosen by OSD. Nothing of it is installed as a service.

# shellcheck disable=SC2034  # used by the scripts that source this
ceph_packages=(ceph-mon ceph-mgr ceph-osd ceph-common qemu-block-extra qemu-utils)
ceph_dir=
ceph_osds=3

ceph_() { bounded 60 ceph -c "$ceph_dir/ceph.conf" "$@"; }

# start_ceph DIR: from nothing to active+clean, with a pool and an image `bench` of 4 GiB in it.
start_ceph() {
  local fsid n uuid mon_port
  ceph_dir=$1
  mkdir -p "$ceph_dir"/{mon,mgr,run}
  fsid=$(</proc/sys/kernel/random/uuid)
  pick_port
  mon_port=$port
  cat >"$ceph_dir/ceph.conf" <<CONF
[global]
fsid = $fsid
mon_host = v2:127.0.0.1:$mon_port
public_network = 127.0.0.0/8
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
auth_allow_insecure_global_id_reclaim = false
osd_crush_chooseleaf_type = 0
osd_pool_default_size = 3
osd_pool_default_min_size = 2
osd_pool_default_pg_autoscale_mode = off
run_dir = $ceph_dir/run
admin_socket = $ceph_dir/run/\$name.asok
pid_file = $ceph_dir/run/\$name.pid
log_file = $ceph_dir/run/\$name.log
log_to_file = true
mon_data = $ceph_dir/mon
mgr_data = $ceph_dir/mgr
osd_data = $ceph_dir/osd.\$id
bluestore_block_size = 12884901888
bluestore_block_create = true
osd_objectstore = bluestore
mon_allow_pool_delete = true
[client]
# With its cache librbd acknowledges a write before any OSD has it.
rbd_cache = false
log_file =
log_to_file = false
CONF
  {
    monmaptool --create --clobber --fsid "$fsid" --addv a "[v2:127.0.0.1:$mon_port]" "$ceph_dir/monmap"
    ceph-mon -c "$ceph_dir/ceph.conf" --mkfs -i a --monmap "$ceph_dir/monmap"
  } >"$work/log/ceph-mkfs.log" 2>&1 || fail "ceph-mon --mkfs"
  spawn ceph.mon ceph-mon -c "$ceph_dir/ceph.conf" -i a -f
  wait_until 60 "the Ceph monitor" bounded 5 ceph -c "$ceph_dir/ceph.conf" status
  spawn ceph.mgr ceph-mgr -c "$ceph_dir/ceph.conf" -i x -f
  for ((n = 0; n < ceph_osds; n++)); do
    mkdir -p "$ceph_dir/osd.$n"
    uuid=$(</proc/sys/kernel/random/uuid)
    [[ $(ceph_ osd new "$uuid" 2>>"$work/log/ceph-mkfs.log") == "$n" ]] || fail "ceph osd new did not answer $n"
    ceph-osd -c "$ceph_dir/ceph.conf" -i "$n" --mkfs --osd-uuid "$uuid" >>"$work/log/ceph-mkfs.log" 2>&1 ||
      fail "ceph-osd --mkfs $n"
    spawn "ceph.osd.$n" ceph-osd -c "$ceph_dir/ceph.conf" -i "$n" -f
  done
  ceph_ osd pool create rbd 32 32 >>"$work/log/ceph-mkfs.log" 2>&1
  ceph_ osd pool application enable rbd rbd >>"$work/log/ceph-mkfs.log" 2>&1
  wait_until 180 "Ceph to be active+clean" ceph_clean
  bounded 60 /usr/bin/rbd -c "$ceph_dir/ceph.conf" create --size 4G rbd/bench >>"$work/log/ceph-mkfs.log" 2>&1 ||
    fail "rbd create in Ceph"
}

# "33 pgs: 33 active+clean; ...": all of them, the manager's own pool included.
ceph_clean() { [[ $(bounded 10 ceph -c "$ceph_dir/ceph.conf" pg stat 2>/dev/null) =~ ^([0-9]+)\ pgs:\ ([0-9]+)\ active\+clean\; && ${BASH_REMATCH[1]} == "${BASH_REMATCH[2]}" ]]; }

# The same image by NBD, as Nacre is measured: qemu-nbd over librbd; the answer is in $ceph_uri.
serve_ceph_nbd() {
  spawn ceph.nbd qemu-nbd --persistent --shared=0 -f raw --cache=none --aio=threads --socket="$work/ceph.sock" \
    "rbd:rbd/bench:conf=$ceph_dir/ceph.conf"
  wait_until 30 "qemu-nbd to serve Ceph's image" test -S "$work/ceph.sock"
  ceph_uri="nbd+unix:///?socket=$work/ceph.sock"
}

ceph_osd_names() {
  local n
  for ((n = 0; n < ceph_osds; n++)); do printf 'ceph.osd.%s ' "$n"; done
}

ceph_daemons() {
  printf 'ceph.mon ceph.mgr '
  ceph_osd_names
}
