#!/usr/bin/env bash
# Bytes of an OSD's store go bad while it is stopped. A deep scrub finds them, health says so until a repair has healed them,
# and a client that reads them first gets good data from another copy.
# shellcheck source=tools/lib/section.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/section.sh"
begin_section scrub
image kept 64M
kept=$uri
head -c 64M /dev/urandom >"$work/data"
bounded 60 nbdcopy "$work/data" "$kept"

health_names() { n health --format json | jq -e --arg check "$1" '.checks[$check] != null' >/dev/null; }
wait_until 60 "HEALTH_OK" health_is HEALTH_OK
prefix=$(rbd info --format json kept | jq -r .block_name_prefix)

# spoil OSD BLOCK: turns over the bytes of the image's 4 KiB block in the store of an OSD that is stopped.
spoil() {
  python3 - "$cluster/osd.$1/block" "$work/data" "$2" <<'PY'
import mmap, sys
store, data, block = sys.argv[1], sys.argv[2], int(sys.argv[3])
with open(data, "rb") as file:
    file.seek(block * 4096)
    wanted = file.read(4096)
found = 0
with open(store, "r+b") as file, mmap.mmap(file.fileno(), 0) as space:
    place = space.find(wanted)
    while place >= 0:
        space[place:place + 4096] = bytes(255 - byte for byte in wanted)
        found += 1
        place = space.find(wanted, place + 4096)
print(f"spoiled block {block} at {found} places")
sys.exit(found == 0)
PY
}

# where BLOCK: the object that has it; its group is in $group and its primary in $primary.
where() {
  object=$prefix.$(printf '%016x' $(($1 / 1024)))
  n osd map rbd "$object" --format json >"$work/where"
  group=$(jq -r .pgid "$work/where")
  primary=$(jq -r .acting_primary "$work/where")
  replica=$(jq -r --argjson primary "$primary" '[.acting[] | select(. != $primary)][0]' "$work/where")
}

# A copy that is not the primary's: nobody reads it until it is scrubbed.
where 5000
halt "osd.$replica"
spoil "$replica" 5000 || fail "the block is not in the store of osd.$replica"
spawn_osd "$replica"
await_ready "osd.$replica" 60
wait_until 60 "HEALTH_OK after the restart" health_is HEALTH_OK
n pg scrub "$group" >>"$work/log/commands.txt"
n pg deep-scrub "$group" >>"$work/log/commands.txt"
wait_until 60 "PG_DAMAGED" health_names PG_DAMAGED
health_names OSD_SCRUB_ERRORS || fail "no OSD_SCRUB_ERRORS: $(n health detail)"
health_is HEALTH_ERR || fail "health of damaged data: $(n health)"
n health detail | tee -a "$work/log/commands.txt" | grep -q "pg $group is .*inconsistent" || fail "health detail does not name $group"
n pg list-inconsistent "$group" >>"$work/log/commands.txt"
n pg list-inconsistent "$group" --format json | jq -e --arg object "$object" --argjson osd "$replica" '
  (.inconsistents | length) == 1 and .inconsistents[0].object.name == $object
  and ([.inconsistents[0].shards[] | select(.errors == ["read_error"]).osd] == [$osd])' >/dev/null ||
  fail "list-inconsistent: $(n pg list-inconsistent "$group")"
[[ $(n pg ls inconsistent --format json | jq -r '[.pg_stats[].pgid] | join(" ")') == "$group" ]] || fail "pg ls inconsistent"
n status | tee -a "$work/log/commands.txt" | grep -q '1 scrub errors' || fail "status does not tell of the error"

# The list outlives its primary's process.
halt "osd.$primary"
spawn_osd "$primary"
await_ready "osd.$primary" 60
wait_until 60 "the list after a restart" health_names PG_DAMAGED

n pg repair "$group" >>"$work/log/commands.txt"
wait_until 60 "HEALTH_OK after the repair" health_is HEALTH_OK
before=$(n pg query "$group" --format json | jq .scrub.last_deep_scrub_stamp)
deeply_scrubbed() { (($(n pg query "$group" --format json | jq .scrub.last_deep_scrub_stamp) > before)); }
n pg deep-scrub "$group" >>"$work/log/commands.txt"
wait_until 60 "another deep scrub" deeply_scrubbed
[[ $(n pg list-inconsistent "$group" --format json | jq '.inconsistents | length') == 0 ]] || fail "the repair did not heal"

# The primary's copy: the client that reads it gets good data, and the copy is replaced.
where 9000
halt "osd.$primary"
spoil "$primary" 9000 || fail "the block is not in the store of osd.$primary"
spawn_osd "$primary"
await_ready "osd.$primary" 60
primary_leads() { n osd map rbd "$object" --format json | jq -e --argjson osd "$primary" '.acting[0] == $osd' >/dev/null && health_is HEALTH_OK; }
wait_until 60 "osd.$primary to lead pg $group again" primary_leads
bounded 60 nbdcopy "$kept" - | cmp - "$work/data" || fail "a read of a bad block was not answered from a good copy"
repaired() { (($(n pg query "$group" --format json | jq .scrub.num_objects_repaired) > 0)); }
wait_until 30 "the bad copy to be replaced" repaired
wait_until 60 "HEALTH_OK after the read" health_is HEALTH_OK
n pg query "$group" >>"$work/log/commands.txt"

# A store that has lost a part of its file says so when it starts: what was there is fetched from others, unasked.
halt osd.2
truncate -s 160M "$cluster/osd.2/block"
spawn_osd 2
await_ready osd.2 60
wait_until 60 "HEALTH_OK after a part of a file was lost" health_is HEALTH_OK
grep -q 'cannot vouch for all data of .* objects, which count as missing' "${log_of[osd.2]}" ||
  fail "osd.2 does not say that it lost data: $(tail -n 3 "${log_of[osd.2]}")"
bounded 60 nbdcopy "$kept" - | cmp - "$work/data" || fail "data was lost with a part of one file"
halt osd.2
bounded 60 "$NACRE" osd store fsck "$cluster/osd.2" >>"$work/log/commands.txt" || fail "the lost blocks were not all fetched"
spawn_osd 2
await_ready osd.2 60

# What is wrong is refused in a line.
refused() {
  local want=$1 status=0
  shift
  n "$@" >"$work/out" 2>"$work/err" || status=$?
  ((status == want)) || fail "nacre $*: exit status $status, not $want: $(<"$work/err")"
  [[ $(wc -l <"$work/err") == 1 ]] || fail "nacre $*: $(<"$work/err")"
}
refused 2 pg deep-scrub 1.ffff
refused 22 pg repair nonsense
refused 2 pg ls --pool nothing
stop_cluster
