# shellcheck shell=bash disable=SC2154  # common.sh sets what is not set here
# A file system over an NBD URI on the host itself: nbdfuse, a loop device, a mount. Needs common.sh.

# attach_loop NAME URI: exports URI as a loop device; the answer is in $loop. NAME is its handle.
attach_loop() {
  local dir=$work/fuse.$1
  mkdir -p "$dir"
  spawn "nbdfuse.$1" nbdfuse "$dir/nbd" "$2"
  on_exit umount -l "$dir"
  wait_until 20 "nbdfuse to serve $2" test -f "$dir/nbd"
  loop=$(losetup -f --show "$dir/nbd")
  on_exit losetup -d "$loop"
}

# detach_loop NAME LOOP: the orderly way; flushes.
detach_loop() {
  losetup -d "$2"
  wait_until 20 "$2 to be released" loop_released "$2"
  umount "$work/fuse.$1"
  wait_until 20 "nbdfuse to end" stopped "nbdfuse.$1"
  wait "${pid_of[nbdfuse.$1]}" || true
  forget "nbdfuse.$1"
}

loop_released() { ! losetup "$1" 2>/dev/null; }

# drop_mount DIR LOOP FUSE: takes down what is left when the device below has died.
drop_mount() {
  umount "$1" 2>/dev/null || umount -l "$1" 2>/dev/null || true
  losetup -d "$2" 2>/dev/null || true
  umount "$3" 2>/dev/null || umount -l "$3" 2>/dev/null || true
}
