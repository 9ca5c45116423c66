#!/usr/bin/env bash
# A cluster grows: a fourth OSD is created from an empty directory, registers, and everything serves and verifies while it
# joins and after a restart of all.
# shellcheck source=tools/lib/section.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/section.sh"
begin_section grow
image old 64M
head -c 64M /dev/urandom >"$work/data"
bounded 60 nbdcopy "$work/data" "$uri"

osds=4
spawn_osd 3
await_ready osd.3 60
bounded 20 "$NACRE" status -m "$mon_addr" --format json >"$work/log/status.txt" || fail "nacre status with a fourth OSD"
still_serving_old() { bounded 20 nbdcopy "$uri" - | cmp -s - "$work/data"; }
still_serving_old || fail "the image differs after a fourth OSD joined"

image new 64M
bounded 60 nbdcopy "$work/data" "$uri"
stop_cluster
start_cluster
for name in old new; do
  bounded 60 nbdcopy "$(nbd_uri "$name")" - | cmp - "$work/data" || fail "$name differs after the restart of four OSDs"
done
stop_cluster
