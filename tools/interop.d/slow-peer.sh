#!/usr/bin/env bash
# An OSD that answers late, but in time not to be taken for dead, is named by those that wait for it until it answers as it
# should: it is stopped and continued over and over, so that it runs for a twentieth of the time.
# shellcheck source=tools/lib/section.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/section.sh"
begin_section slow-peer
wait_until 60 "HEALTH_OK of a new cluster" health_is HEALTH_OK

slow_down() {
  trap 'kill -CONT "$1" 2>/dev/null; exit' TERM
  while kill -STOP "$1" 2>/dev/null; do
    sleep 3.8
    kill -CONT "$1" 2>/dev/null
    sleep 0.2
  done
}
spawn slowdown slow_down "${pid_of[osd.1]}"
is_named() { n health --format json | jq -e '.checks.OSD_SLOW_PING_TIME_BACK.detail[].message | select(startswith("osd.1 answers osd."))' >/dev/null; }
wait_until 60 "OSD_SLOW_PING_TIME_BACK to name osd.1" is_named
health_is HEALTH_WARN || fail "health with a slow OSD: $(n health)"
n health detail >>"$work/log/commands.txt"
others=$(n health --format json | jq -r '.checks.OSD_SLOW_PING_TIME_BACK.detail[].message | select(startswith("osd.1 answers") | not)')
[[ -z $others ]] || fail "those that are well are called slow: $others"
n osd tree --format json | jq -e '[.nodes[] | select(.type == "osd") | .status] | all(. == "up")' >/dev/null ||
  fail "a slow OSD was marked down: $(n osd tree)"
kill -TERM "${pid_of[slowdown]}"
wait "${pid_of[slowdown]}" || true
forget slowdown
kill -CONT "${pid_of[osd.1]}"
wait_until 60 "HEALTH_OK after osd.1 is fast again" health_is HEALTH_OK
stop_cluster
