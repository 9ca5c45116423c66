#!/usr/bin/env bash
# The whole cluster in one process, `nacre up`: what was written stays over SIGTERM and over kill -9.
# shellcheck source=tools/lib/section.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/section.sh"
start_work up
cd "$work"
define_cluster "$work/cluster"

start_up() {
  spawn up "$NACRE" up --data "$cluster" --osds 3 --mon-listen "$mon_addr" --nbd-listen "$nbd_addr"
  await_ready up 60
}
same() { bounded 30 nbdcopy "$uri" - | cmp - "$work/data" || fail "the image differs $1"; }

start_up
image kept 64M
head -c 64M /dev/urandom >"$work/data"
bounded 60 nbdcopy "$work/data" "$uri"
halt up
start_up
same "after SIGTERM and a new start"
slay up
start_up
same "after kill -9 and a new start"
bounded 20 "$NACRE" status -m "$mon_addr" >"$work/log/status.log" || fail "nacre status"
halt up
