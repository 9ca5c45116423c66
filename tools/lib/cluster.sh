# shellcheck shell=bash disable=SC2154  # common.sh sets what is not set here
# A Nacre cluster of separate processes on loopback: one monitor, OSDs, one NBD server. The only place where the
# scripts say how the daemons are called. Needs common.sh.

cluster=      # the directory that holds mon/ and osd.N/
osds=3
mon_addr=
nbd_addr=

# define_cluster DIR [OSDS]: names a cluster; nothing is started.
define_cluster() {
  cluster=$1
  osds=${2:-3}
  pick_port
  mon_addr=127.0.0.1:$port
  pick_port
  nbd_addr=127.0.0.1:$port
}

spawn_mon() { spawn mon "$NACRE" mon --data "$cluster/mon" --listen "$mon_addr"; }

# n ARGUMENT...: a command to the cluster.
n() { bounded 30 "$NACRE" "$@" -m "$mon_addr"; }

# health_is STATUS: true when that is what the cluster says of itself.
health_is() { n health --format json | jq -e --arg status "$1" '.status == $status' >/dev/null; }

# What OSDs are run by, where that is not the system itself.
osd_runner=()

spawn_osd() {
  mkdir -p "$cluster/osd.$1"
  spawn "osd.$1" "${osd_runner[@]}" "$NACRE" osd --data "$cluster/osd.$1" --mon "$mon_addr"
}

spawn_nbd() { spawn nbd "$NACRE" nbd --mon "$mon_addr" --listen "$nbd_addr"; }

osd_names() {
  local n
  for ((n = 0; n < osds; n++)); do printf 'osd.%s ' "$n"; done
}

start_cluster() {
  local n
  mkdir -p "$cluster/mon"
  spawn_mon
  await_ready mon
  # One after the other the first time, so that OSD ids follow the directories; together afterwards.
  for ((n = 0; n < osds; n++)); do
    if [[ -e $cluster/created ]]; then spawn_osd "$n"; else
      spawn_osd "$n"
      await_ready "osd.$n" 60
    fi
  done
  for ((n = 0; n < osds; n++)); do await_ready "osd.$n" 60; done
  : >"$cluster/created"
  start_nbd
}

start_nbd() {
  spawn_nbd
  await_ready nbd
}

stop_cluster() {
  local name
  halt nbd
  for name in $(osd_names); do halt "$name"; done
  halt mon
}

# shellcheck disable=SC2046  # a list of names
kill_cluster() { slay nbd mon $(osd_names); }

rbd() { bounded 60 "$NACRE" rbd -m "$mon_addr" "$@"; }

nbd_uri() { printf 'nbd://%s/rbd/%s' "$nbd_addr" "$1"; }

# still_serving IMAGE: every daemon runs, and a block written through NBD reads back.
still_serving() {
  local name
  for name in nbd mon $(osd_names); do
    running "$name" || fail "$name died: $(tail -n 1 "${log_of[$name]}")"
  done
  bounded 30 qemu-io -f raw -c 'write -q -P 0x5a 0 64k' -c 'read -q -P 0x5a 0 64k' "$(nbd_uri "$1")" \
    >"$work/log/still-serving.txt" 2>&1 || fail "the cluster does not serve $1 any more: $(tail -n 1 "$work/log/still-serving.txt")"
}
