#!/usr/bin/env bash
# A member that was away is brought back while a client goes on: `status` tells how many copies are not what they should be, how
# fast they come back and how long that takes, and in the end the three copies are one.
# shellcheck source=tools/lib/section.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/section.sh"
begin_section recovery
image disk 1G
head -c 256M /dev/urandom >"$work/data"
truncate -s 1G "$work/data"
bounded 90 nbdcopy "$work/data" "$uri"
wait_until 30 "a healthy cluster" health_is HEALTH_OK

slay osd.2
is_degraded() {
  n status >"$work/log/status.txt" && grep -q '[0-9]/[0-9]* objects degraded ([0-9.]* %)' "$work/log/status.txt"
}
wait_until 60 "the copies of the OSD that is gone to be missed" is_degraded
! grep -q 'recovery:' "$work/log/status.txt" || fail "recovery goes on and nobody is there: $(<"$work/log/status.txt")"
head -c 256M /dev/urandom | dd of="$work/data" bs=1M seek=256 conv=notrunc status=none
bounded 90 nbdcopy "$work/data" "$uri"

# Under load recovery takes its time.
bounded 120 fio --name=load --ioengine=nbd --uri="$uri" --rw=randwrite --bs=4k --iodepth=8 --offset=768m --size=256m \
  --time_based --runtime=15 --randrepeat=0 >"$work/log/fio.txt" 2>&1 &
load=$!
spawn_osd 2
is_recovering() {
  n status >"$work/log/status.txt" && grep -Eq '^ *recovery: [0-9.]+ ?[KMG]?i?B/s, [0-9.]+ objects/s' "$work/log/status.txt" || return 1
  # The same for programs, from the next look: it may be over by then, but the fields are there.
  n status --format json >"$work/log/status.json"
}
wait_until 60 "recovery to be shown" is_recovering
jq -e '.. | objects | select(has("recovering_bytes_per_sec"))
  | has("recovering_objects_per_sec") and has("degraded_objects") and has("degraded_total") and has("degraded_ratio")' \
  "$work/log/status.json" >/dev/null || fail "status --format json: $(<"$work/log/status.json")"
wait "$load" || fail "fio ended with $? while a member was brought back: $(tail -n 2 "$work/log/fio.txt")"
wait_until 90 "a healthy cluster" health_is HEALTH_OK
n status >"$work/log/status.txt"
! grep -Eq 'degraded|recovery:' "$work/log/status.txt" || fail "a healthy cluster still recovers: $(<"$work/log/status.txt")"
bounded 60 nbdcopy "$uri" "$work/copy"
cmp -n $((768 << 20)) "$work/copy" "$work/data" || fail "the image is another after the recovery"
stop_cluster
