#!/usr/bin/env bash
# Snapshots of an image that is open and written to: each keeps what was there, a rollback brings it back, and what a removed
# one held is given back.
# shellcheck source=tools/lib/section.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/section.sh"
begin_section snapshots

# The bytes that all OSDs use.
used() {
  "$NACRE" osd df -m "$mon_addr" --format json | jq '[.nodes[] | select(.type == "osd") | .kb_used] | add'
}
snapshot_is() { bounded 60 nbdcopy "$(nbd_uri "$1")" - | cmp - "$2" || fail "$1 differs: $3"; }
# refused STATUS WORD COMMAND...: the exit status, and one line that has the word.
refused() {
  local want=$1 word=$2 status=0
  shift 2
  rbd "$@" >"$work/log/refused.txt" 2>&1 || status=$?
  ((status == want)) || fail "rbd $*: exit status $status instead of $want: $(<"$work/log/refused.txt")"
  grep -q "$word" "$work/log/refused.txt" || fail "rbd $*: no '$word' in: $(<"$work/log/refused.txt")"
}

head -c 48M /dev/urandom >"$work/one"
image disk 64M
truncate -s 64M "$work/one"
bounded 60 nbdcopy "$work/one" "$uri"

# While a client holds the image open and writes, each snapshot is a moment of it: what was answered before is in it.
rbd snap create rbd/disk@one
refused 17 'already exists' snap create rbd/disk@one
refused 2 'does not exist' snap create rbd/none@one
refused 22 'no snapshot' snap create rbd/disk
refused 39 'snapshots' rm rbd/disk
cp "$work/one" "$work/two"
bounded 60 qemu-io -f raw -c 'write -q -P 0x11 4096 8192' -c 'write -q -P 0x22 12M 8M' -c 'discard -q 40M 4M' "$uri" \
  >"$work/log/qemu-io.txt"
printf '\x11%.0s' {1..8192} | dd of="$work/two" bs=4096 seek=1 conv=notrunc status=none
head -c 8M /dev/zero | tr '\0' '\042' | dd of="$work/two" bs=1M seek=12 conv=notrunc status=none
dd if=/dev/zero of="$work/two" bs=1M seek=40 count=4 conv=notrunc status=none
snapshot_is disk@one "$work/one" "it is what was there"
snapshot_is disk "$work/two" "the image goes on"

cat >"$work/open.py" <<'PY'
# Writes the number of every line it reads into two far blocks, one after the other.
import sys
import nbd
handle = nbd.NBD()
handle.connect_uri(sys.argv[1])
for number, line in enumerate(sys.stdin, 1):
    for offset in (56 << 20, 60 << 20):
        handle.pwrite(bytes([number]) * 4096, offset)
    print(number, flush=True)
PY
coproc holder { exec /usr/bin/python3 "$work/open.py" "$uri"; }
on_exit kill "${holder_PID}"
for round in 1 2 3; do
  echo >&"${holder[1]}"
  read -r -t 30 -u "${holder[0]}" got || fail "the client that holds the image does not get on"
  rbd snap create "rbd/disk@round-$got"
done
exec {holder[1]}>&-
for round in 1 2 3; do
  bounded 30 qemu-io -r -f raw -c "read -q -P $round 56M 4k" -c "read -q -P $round 60M 4k" \
    "$(nbd_uri "disk@round-$round")" >"$work/log/qemu-io.txt" 2>&1 ||
    fail "snapshot round-$round is another: $(<"$work/log/qemu-io.txt")"
done
[[ $(rbd snap ls rbd/disk --format json | jq -r '.[].name' | xargs) == 'one round-1 round-2 round-3' ]] ||
  fail "snap ls: $(rbd snap ls rbd/disk)"
rbd snap ls rbd/disk | head -1 | grep -q '^SNAPID  *NAME  *SIZE  *PROTECTED  *TIMESTAMP$' ||
  fail "snap ls begins with: $(rbd snap ls rbd/disk | head -1)"

# What is shown of a snapshot: its own size, and that it is protected.
rbd snap create rbd/disk@kept
rbd snap protect rbd/disk@kept
rbd resize --size 96M rbd/disk >/dev/null
rbd info rbd/disk@kept --format json | jq -e '.size == 64 * 1048576 and .protected == "true"' >/dev/null ||
  fail "info of a snapshot: $(rbd info rbd/disk@kept --format json)"
rbd info rbd/disk --format json | jq -e '.size == 96 * 1048576' >/dev/null || fail "info: $(rbd info rbd/disk)"
rbd info rbd/disk@kept | grep -q "^rbd image 'disk':" && rbd info rbd/disk@kept | grep -q 'protected: True' ||
  fail "info of a snapshot: $(rbd info rbd/disk@kept)"
rbd ls -l --format json | jq -e 'map(select(.snapshot == "kept")) | length == 1 and .[0].size == 64 * 1048576' >/dev/null ||
  fail "ls -l: $(rbd ls -l --format json)"
rbd ls -l | grep -Eq '^disk@kept +64 MiB .* yes' || fail "ls -l: $(rbd ls -l)"
refused 2 'does not exist' info rbd/disk@none
rbd snap unprotect rbd/disk@kept
rbd snap rm rbd/disk@kept
rbd resize --size 64M --allow-shrink rbd/disk >/dev/null

# A snapshot is read-only, and none that is not there is served.
bounded 20 nbdinfo --is read-only "$(nbd_uri disk@one)" || fail "a snapshot is offered for writing"
! bounded 20 nbdinfo "$(nbd_uri disk@none)" >/dev/null 2>&1 || fail "a snapshot that is not there is served"

# Back to the first; the later ones stay.
rbd snap rollback rbd/disk@one
snapshot_is disk "$work/one" "after the rollback"
rbd snap protect rbd/disk@one
refused 16 'protected' snap rm rbd/disk@one
rbd snap unprotect rbd/disk@one
rbd snap purge rbd/disk
[[ -z $(rbd snap ls rbd/disk) ]] || fail "snapshots after a purge: $(rbd snap ls rbd/disk)"
snapshot_is disk "$work/one" "after the purge"

# What only a snapshot holds is given back when it is removed.
before=$(used)
rbd snap create rbd/disk@last
bounded 60 qemu-io -f raw -c 'write -q -P 0x33 0 32M' "$uri" >"$work/log/qemu-io.txt"
holds_more() { (($(used) > before + 60000)); }
wait_until 30 "the snapshot to hold what was overwritten" holds_more
rbd snap rm rbd/disk@last
given_back() { (($(used) < before + 10000)); }
wait_until 60 "the space of the removed snapshot" given_back
rbd rm rbd/disk
stop_cluster
