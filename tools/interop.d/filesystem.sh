#!/usr/bin/env bash
# A file system on the host: nbdfuse, a loop device, ext4, real files, fsck; then again after kill -9 of the cluster.
# shellcheck source=tools/lib/section.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/section.sh"
begin_section filesystem
image disk 512M
mkdir "$work/mnt"

attach_loop disk "$uri"
bounded 60 mkfs.ext4 -q "$loop"
mount "$loop" "$work/mnt"
on_exit umount -l "$work/mnt"
mkdir "$work/mnt/tree"
(cd /usr/share && find . -xdev -type f -size -200k -readable 2>/dev/null | LC_ALL=C sort | awk 'NR % 7 == 0 && ++n <= 600' |
  cpio -pdm --quiet "$work/mnt/tree")
(cd "$work/mnt/tree" && find . -type f -exec sha256sum {} +) >"$work/sums"
(($(wc -l <"$work/sums") >= 100)) || fail "too few files for a tree: $(wc -l <"$work/sums")"
umount "$work/mnt"
bounded 60 e2fsck -fn "$loop" >"$work/log/e2fsck.txt" 2>&1 || fail "e2fsck right after unmounting"
detach_loop disk "$loop"

kill_cluster
start_cluster

attach_loop disk-again "$uri"
bounded 60 e2fsck -fn "$loop" >"$work/log/e2fsck.txt" 2>&1 || fail "e2fsck after kill -9 of every process"
mount "$loop" "$work/mnt"
(cd "$work/mnt/tree" && sha256sum --quiet -c "$work/sums") || fail "files differ after kill -9 of every process"
fstrim "$work/mnt" || fail "fstrim"
umount "$work/mnt"
bounded 60 e2fsck -fn "$loop" >"$work/log/e2fsck.txt" 2>&1 || fail "e2fsck after fstrim"
detach_loop disk-again "$loop"
stop_cluster
