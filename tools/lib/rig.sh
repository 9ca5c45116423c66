# shellcheck shell=bash disable=SC2154  # common.sh sets what is not set here
# A disk that loses what was not flushed when the power goes: nbdkit with a write-back cache in memory over the file DISK,
# nbdfuse, a loop device, ext4. `power_off` kills nbdkit with -9, and its cache with it; DISK keeps what was flushed.

# shellcheck disable=SC2034  # used by the scripts that source this
rig_packages=(nbdkit libnbd-bin fuse3 e2fsprogs)
rig=          # the mount point
rig_loop=

# make_disk SIZE
make_disk() {
  rig=$work/rig
  mkdir -p "$rig" "$work/rig.fuse"
  truncate -s "$1" "$work/disk"
  mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 "$work/disk"
}

power_on() {
  rm -f "$work/rig.sock"
  spawn rig.nbdkit nbdkit -f -t 16 -U "$work/rig.sock" --filter=cache file "$work/disk" cache=writeback
  wait_until 20 "nbdkit to listen" test -S "$work/rig.sock"
  spawn rig.nbdfuse nbdfuse "$work/rig.fuse/nbd" "nbd+unix:///?socket=$work/rig.sock"
  wait_until 20 "nbdfuse to serve" test -f "$work/rig.fuse/nbd"
  rig_loop=$(losetup -f --show --direct-io=on "$work/rig.fuse/nbd")
  on_exit drop_mount "$rig" "$rig_loop" "$work/rig.fuse"
  mount "$rig_loop" "$rig"
}

# power_off NAME...: the cut. The processes named die in one instant with the disk's memory, and before it, so that none
# of them ever sees an error of the dying disk.
power_off() {
  slay "$@" rig.nbdkit rig.nbdfuse
  drop_mount "$rig" "$rig_loop" "$work/rig.fuse"
}

# The other way to end: everything is flushed.
power_down() {
  umount "$rig"
  losetup -d "$rig_loop"
  umount "$work/rig.fuse"
  wait_until 20 "nbdfuse to end" stopped rig.nbdfuse
  halt rig.nbdkit
}
