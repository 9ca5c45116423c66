# shellcheck shell=bash disable=SC2154  # common.sh sets what is not set here
# Disks that lose what was not flushed when the power goes: for each nbdkit with a write-back cache in memory over a file,
# nbdfuse, a loop device, ext4. `power_off` kills nbdkit with -9, and its cache with it; the file keeps what was flushed.

# shellcheck disable=SC2034  # used by the scripts that source this
rig_packages=(nbdkit libnbd-bin fuse3 e2fsprogs)
rig=                 # the mount point of the disk that was made last
declare -A rig_loop=()

# make_disk SIZE [NAME]: a disk called NAME, mounted at $work/NAME when its power is on.
make_disk() {
  local name=${2:-rig}
  rig=$work/$name
  mkdir -p "$rig" "$rig.fuse"
  truncate -s "$1" "$rig.disk"
  mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 "$rig.disk"
}

# power_on [NAME]
power_on() {
  local name=${1:-rig} at=$work/${1:-rig}
  rm -f "$at.sock"
  spawn "$name.nbdkit" nbdkit -f -t 16 -U "$at.sock" --filter=cache file "$at.disk" cache=writeback
  wait_until 20 "nbdkit to listen" test -S "$at.sock"
  spawn "$name.nbdfuse" nbdfuse "$at.fuse/nbd" "nbd+unix:///?socket=$at.sock"
  wait_until 20 "nbdfuse to serve" test -f "$at.fuse/nbd"
  rig_loop[$name]=$(losetup -f --show --direct-io=on "$at.fuse/nbd")
  on_exit drop_mount "$at" "${rig_loop[$name]}" "$at.fuse"
  mount "${rig_loop[$name]}" "$at"
}

# power_off PROCESS...: the cut. The processes named die in one instant with the disk's memory, and before it, so that none
# of them ever sees an error of the dying disk.
power_off() { power_off_disk rig "$@"; }

# power_off_disk NAME PROCESS...: the same for one disk of several.
power_off_disk() {
  local name=$1
  shift
  slay "$@" "$name.nbdkit" "$name.nbdfuse"
  drop_mount "$work/$name" "${rig_loop[$name]}" "$work/$name.fuse"
}

# power_down [NAME]: the other way to end; everything is flushed.
power_down() {
  local name=${1:-rig}
  umount "$work/$name"
  losetup -d "${rig_loop[$name]}"
  umount "$work/$name.fuse"
  wait_until 20 "nbdfuse to end" stopped "$name.nbdfuse"
  halt "$name.nbdkit"
}
