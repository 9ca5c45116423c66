#!/usr/bin/env bash
# Files go to an image and come back byte for byte, by qemu-img and by nbdcopy; nbdinfo sees what is there.
# shellcheck source=tools/lib/section.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/section.sh"
begin_section copy

# Real bytes, then a hole, then random ones: 96 MiB.
source_file=$work/source
{ tar -C /usr/share -cf - . 2>/dev/null || true; } | head -c 40M >"$source_file"
truncate -s 56M "$source_file"
head -c 40M /dev/urandom >>"$source_file"
truncate -s 96M "$source_file"

image by-qemu 96M
bounded 60 qemu-img convert -n -f raw -O raw "$source_file" "$uri"
bounded 60 qemu-img convert -f raw -O raw "$uri" "$work/back"
cmp "$source_file" "$work/back" || fail "qemu-img: the file that came back differs"
bounded 60 qemu-img compare -f raw -F raw "$source_file" "$uri" >/dev/null || fail "qemu-img compare sees a difference"
rm "$work/back"

image by-nbdcopy 96M
bounded 60 nbdcopy --flush "$source_file" "$uri"
bounded 60 nbdcopy "$uri" "$work/back"
cmp "$source_file" "$work/back" || fail "nbdcopy: the file that came back differs"

# From one image to another, with the cluster on both ends.
image twin 96M
bounded 60 nbdcopy "$(nbd_uri by-qemu)" "$uri"
bounded 60 nbdcopy "$uri" - | cmp - "$source_file" || fail "nbdcopy between images: the copy differs"

[[ $(bounded 20 nbdinfo --size "$uri") == 100663296 ]] || fail "nbdinfo --size: $(nbdinfo --size "$uri")"
for can in 'can write' 'can flush' 'can fua' 'can trim' 'can zero' 'can multi-conn'; do
  # shellcheck disable=SC2086  # two words
  bounded 20 nbdinfo --${can/ / } "$uri" || fail "nbdinfo: the export does not offer: $can"
done
bounded 20 nbdinfo --list "nbd://$nbd_addr/" >"$work/log/nbdinfo.txt"
for name in by-qemu by-nbdcopy twin; do
  grep -q "^export=\"rbd/$name\"" "$work/log/nbdinfo.txt" || fail "nbdinfo --list does not show rbd/$name"
done
# A second NBD server, on a unix socket, serves the same image.
pick_port
spawn nbd.unix "$NACRE" nbd --mon "$mon_addr" --listen "127.0.0.1:$port" --socket "$work/nbd.sock"
await_ready nbd.unix
bounded 60 nbdcopy "nbd+unix:///rbd/by-qemu?socket=$work/nbd.sock" - | cmp - "$source_file" ||
  fail "the image differs through a unix socket"
halt nbd.unix

# An image that has never been written reads as zeroes.
image empty 8M
bounded 20 nbdcopy "$uri" - | cmp - <(head -c 8M /dev/zero) || fail "a new image does not read as zeroes"

stop_cluster
