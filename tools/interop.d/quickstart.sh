#!/usr/bin/env bash
# What a newcomer types first: tools/quickstart makes a cluster and an image that a client can open, twice on the same
# directory, and stops cleanly.
# shellcheck source=tools/lib/section.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/section.sh"
start_work quickstart
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
define_cluster "$work/cluster"

for start in first second; do
  MON=$mon_addr NBD=$nbd_addr NACRE=$NACRE bounded 90 "$tools/quickstart" --detach "$work/newcomer" >"$work/log/$start.log" 2>&1 ||
    fail "the $start start: $(tail -n 1 "$work/log/$start.log")"
  pid=$(<"$work/newcomer.pid")
  bounded 20 nbdinfo "nbd://$nbd_addr/rbd/demo" >/dev/null || fail "the image cannot be opened after the $start start"
  kill -TERM "$pid"
  wait_until 20 "the cluster to stop" eval "! kill -0 $pid 2>/dev/null"
done
