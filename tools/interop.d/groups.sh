#!/usr/bin/env bash
# Groups are split and merged under load: a client verifies what it writes while pg_num goes up to more than twice of what it was
# and down to fewer, groups go to places of their own, and everything is there after kill -9 of all.
# shellcheck source=tools/lib/section.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/section.sh"
begin_section groups
image groups 256M
same() { bounded 60 nbdcopy "$1" "$work/copy" && cmp -n "$((64 << 20))" "$work/copy" "$work/data"; }
head -c 64M /dev/urandom >"$work/data"
bounded 60 nbdcopy "$work/data" "$uri"

# Writes at random and reads again what it has written, for so many seconds.
start_load() {
  bounded "$(($1 + 20))" fio --name=load --ioengine=nbd --uri="$(nbd_uri groups)" --rw=randwrite --bs=4k --iodepth=16 \
    --offset=64m --size=192m --time_based --runtime="$1" --verify=crc32c --verify_backlog=512 --verify_fatal=1 --randrepeat=0 \
    >"$work/log/fio.txt" 2>&1 &
  load=$!
}
end_load() {
  wait "$load" || fail "fio ended with $? while groups were $1: $(grep -iE 'err|verify|bad' "$work/log/fio.txt" | head -3)"
}
set_groups() { bounded 20 "$NACRE" osd pool set rbd pg_num "$1" -m "$mon_addr" >/dev/null || fail "pg_num $1"; }
has_groups() {
  bounded 20 "$NACRE" osd pool get rbd all -m "$mon_addr" >"$work/log/pool.txt" &&
    grep -q "^pg_num: $1\$" "$work/log/pool.txt" && grep -q "^pgp_num: $1\$" "$work/log/pool.txt" &&
    bounded 20 "$NACRE" health -m "$mon_addr" | grep -q HEALTH_OK
}

start_load 8
for count in 96 150; do set_groups "$count"; done
end_load split
wait_until 60 "150 clean groups in places of their own" has_groups 150
same "$uri" || fail "the image differs after groups were split"

start_load 8
set_groups 40
end_load merged
wait_until 60 "150 groups to become 40" has_groups 40
same "$uri" || fail "the image differs after groups were merged"
names=$(bounded 20 "$NACRE" rados ls -p rbd -m "$mon_addr" | grep -c '^rbd_data\.')
[[ $names -ge 16 ]] || fail "rados ls shows $names data objects after groups were merged"

kill_cluster
start_cluster
same "$(nbd_uri groups)" || fail "the image differs after kill -9 of all"
wait_until 60 "40 clean groups after kill -9 of all" has_groups 40
stop_cluster
