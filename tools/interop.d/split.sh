#!/usr/bin/env bash
# Groups are split under load: a client verifies what it writes while pg_num goes up by half and to more than twice of what it
# was, groups go to places of their own, and everything is there after kill -9 of all.
# shellcheck source=tools/lib/section.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/section.sh"
begin_section split
image split 256M
same() { bounded 60 nbdcopy "$1" "$work/copy" && cmp -n "$((64 << 20))" "$work/copy" "$work/data"; }
head -c 64M /dev/urandom >"$work/data"
bounded 60 nbdcopy "$work/data" "$uri"

bounded 20 fio --name=load --ioengine=nbd --uri="$(nbd_uri split)" --rw=randwrite --bs=4k --iodepth=16 --offset=64m --size=192m \
  --time_based --runtime=8 --verify=crc32c --verify_backlog=512 --verify_fatal=1 --randrepeat=0 >"$work/log/fio.txt" 2>&1 &
load=$!
for count in 96 150; do
  bounded 20 "$NACRE" osd pool set rbd pg_num "$count" -m "$mon_addr" >/dev/null || fail "pg_num $count"
done
wait "$load" || fail "fio ended with $? while groups were split: $(grep -iE 'err|verify|bad' "$work/log/fio.txt" | head -3)"
is_spread() {
  bounded 20 "$NACRE" osd pool get rbd all -m "$mon_addr" >"$work/log/pool.txt" &&
    grep -q "pgp_num: 150" "$work/log/pool.txt" &&
    bounded 20 "$NACRE" health -m "$mon_addr" | grep -q HEALTH_OK
}
wait_until 60 is_spread || fail "150 groups are not clean in places of their own: $(cat "$work/log/pool.txt")"
same "$uri" || fail "the image differs after groups were split"
bounded 20 "$NACRE" osd pool set rbd pg_num 64 -m "$mon_addr" 2>"$work/log/lower.txt" && fail "pg_num was lowered"
grep -q "not merged" "$work/log/lower.txt" || fail "lowering pg_num: $(cat "$work/log/lower.txt")"

kill_cluster
start_cluster
same "$(nbd_uri split)" || fail "the image differs after kill -9 of all"
stop_cluster
