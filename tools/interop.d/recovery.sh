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
head -c 256M /dev/urandom | dd of="$work/data" bs=1M seek=256 conv=notrunc status=none
bounded 90 nbdcopy "$work/data" "$uri"
is_degraded || fail "what was written without the OSD that is gone is not missed: $(<"$work/log/status.txt")"
! grep -q 'recovery:' "$work/log/status.txt" || fail "recovery goes on and nobody is there: $(<"$work/log/status.txt")"

# Under load recovery takes its time, so that it can be seen.
spawn load fio --name=load --ioengine=nbd --uri="$uri" --rw=randwrite --bs=4k --iodepth=8 --offset=768m --size=256m \
  --time_based --runtime=100 --randrepeat=0 --eta=always --eta-newline=500ms
wait_until 30 "the client to write" grep -q 'w=[1-9]' "${log_of[load]}"
spawn_osd 2
await_ready osd.2 60
is_recovering() {
  n status >"$work/log/status.txt" &&
    grep -Eq '^ *recovery: [0-9.]+ ?[KMG]?i?B/s, [0-9.]+ objects/s' "$work/log/status.txt" &&
    n status --format json >"$work/log/status.json" &&
    jq -e '.. | objects | select(has("recovering_bytes_per_sec"))
      | .recovering_bytes_per_sec > 0 and .recovering_objects_per_sec > 0 and .degraded_objects > 0
        and .degraded_total > .degraded_objects and .degraded_ratio > 0' "$work/log/status.json"
}
wait_until 60 "recovery to be shown" is_recovering
running load || fail "fio ended while a member was brought back: $(tail -n 2 "${log_of[load]}")"
slay load
wait_until 90 "a healthy cluster" health_is HEALTH_OK
n status >"$work/log/status.txt"
! grep -Eq 'degraded|recovery:' "$work/log/status.txt" || fail "a healthy cluster still recovers: $(<"$work/log/status.txt")"
bounded 60 nbdcopy "$uri" "$work/copy"
cmp -n $((768 << 20)) "$work/copy" "$work/data" || fail "the image is another after the recovery"

# The three copies are one.
printf -v began '%(%s)T' -1
for group in $(n pg ls --format json | jq -r '.pg_stats[].pgid'); do n pg deep-scrub "$group" >>"$work/log/commands.txt"; done
is_scrubbed() {
  n pg ls --format json | jq -e --argjson began "$began" 'all(.pg_stats[]; .stat_sum.last_deep_scrub_stamp >= $began)'
}
wait_until 120 "all groups to be scrubbed" is_scrubbed
health_is HEALTH_OK || fail "the copies differ after the recovery: $(n health detail)"
stop_cluster
