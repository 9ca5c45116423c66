#!/usr/bin/env bash
# What users, scripts and strangers get wrong: each gets one line on stderr that says what to do, the exit status that
# people know from rbd, and a cluster that serves as before.
# shellcheck source=tools/lib/section.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/section.sh"
begin_section bad-input
image kept 64M
kept=$uri
head -c 64M /dev/urandom >"$work/data"
bounded 60 nbdcopy "$work/data" "$kept"

wrong=0
complain() {
  printf 'FAILED: %s\n' "$*" >&2
  wrong=$((wrong + 1))
}

# refused STATUS COMMAND...: exits with STATUS (any but 0 if `any`) within the bound and prints exactly one line on stderr.
refused() {
  local want=$1 status=0 shown
  shift
  bounded 15 "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
  shown=$(printf '%q ' "${@##*/}" | cut -c1-120)
  case $want in
    any) ((status != 0 && status != 124 && status < 128)) || complain "$shown: exit status $status, not an error" ;;
    *) ((status == want)) || complain "$shown: exit status $status, not $want" ;;
  esac
  (($(wc -l <"$work/err") == 1)) || complain "$shown: $(wc -l <"$work/err") lines on stderr: $(head -n 3 "$work/err" | tr '\n' '|')"
}

rbd=("$NACRE" rbd -m "$mon_addr")

# Names and images.
refused 2 "${rbd[@]}" info rbd/nothing
refused 2 "${rbd[@]}" rm rbd/nothing
refused 2 "${rbd[@]}" resize --size 2G rbd/nothing
refused 2 "${rbd[@]}" ls nothing
refused 2 "${rbd[@]}" create --size 1G nothing/image
refused 17 "${rbd[@]}" create --size 64M rbd/kept
refused 22 "${rbd[@]}" create --size 1G rbd/with/slash
refused 22 "${rbd[@]}" create --size 1G rbd/with@at
refused 22 "${rbd[@]}" create --size 1G rbd/
refused 22 "${rbd[@]}" create --size 1G "rbd/$(printf 'x%.0s' {1..256})"
"${rbd[@]}" create --size 1M "rbd/$(printf 'x%.0s' {1..200})" || complain "a name of 200 bytes is refused"
"${rbd[@]}" create --size 1M 'rbd/with blank ü' || complain "a name with a blank and an umlaut is refused"
"${rbd[@]}" ls >"$work/out"
grep -qxF 'with blank ü' "$work/out" || complain "ls does not show the name with a blank"

# Sizes.
for size in 0 -1 -1G 1X '' 99999999999999999999 16E 9223372036854775808 18446744073709551616T nan; do
  refused 22 "${rbd[@]}" create --size="$size" rbd/odd
done
refused 22 "${rbd[@]}" create rbd/odd
refused 22 "${rbd[@]}" resize --size=0 rbd/kept
refused 22 "${rbd[@]}" resize --size 32M rbd/kept
[[ $(nbdinfo --size "$kept") == 67108864 ]] || complain "a refused resize changed the size to $(nbdinfo --size "$kept")"

# Arguments.
refused 22 "${rbd[@]}" create --size 1G
refused 1 "${rbd[@]}" frobnicate rbd/kept
refused 22 "${rbd[@]}" info --no-such-option rbd/kept

# An image in use.
spawn client /usr/bin/python3 -c 'import nbd, sys, time; h = nbd.NBD(); h.connect_uri(sys.argv[1]); print("ready", flush=True); time.sleep(60)' "$kept"
await_ready client
refused 16 "${rbd[@]}" rm rbd/kept
slay client

# The export of an image that is not there: an answer, not a hang, and the client says so.
! bounded 20 nbdinfo "$(nbd_uri nothing)" >/dev/null 2>&1 || complain "an unknown export is served"

# Ports and directories that are taken.
refused any "$NACRE" mon --data "$work/other-mon" --listen "$mon_addr"
refused any "$NACRE" nbd --mon "$mon_addr" --listen "$nbd_addr"
refused any "$NACRE" mon --data "$cluster/mon" --listen 127.0.0.1:1
pick_port
refused any "$NACRE" mon --data "$cluster/mon" --listen "127.0.0.1:$port"
refused any "$NACRE" osd --data "$cluster/osd.0" --mon "$mon_addr"
refused any "$NACRE" osd --data "$cluster/mon" --mon "$mon_addr"
refused any "$NACRE" mon --data "$cluster/osd.0" --listen "127.0.0.1:$port"
refused any "$NACRE" osd --data "$work/data/below-a-file" --mon "$mon_addr"
refused any "$NACRE" up --data "$work/other-up" --osds 0
still_serving kept

# An OSD of another cluster.
pick_port
mkdir -p "$work/stranger"
spawn stranger.mon "$NACRE" mon --data "$work/stranger/mon" --listen "127.0.0.1:$port"
await_ready stranger.mon
mkdir -p "$work/stranger/osd"
spawn stranger.osd "$NACRE" osd --data "$work/stranger/osd" --mon "127.0.0.1:$port"
await_ready stranger.osd 60
halt stranger.osd
refused any "$NACRE" osd --data "$work/stranger/osd" --mon "$mon_addr"
halt stranger.mon

# No monitor there at all: a clear refusal within the bound.
refused any "$NACRE" rbd -m 127.0.0.1:1 ls
refused any "$NACRE" status -m 127.0.0.1:1
refused any "$NACRE" rbd -m not-an-address ls

# Garbage on every port that any of the daemons listens on.
listening() { ss -Hltnp | awk -v pid="pid=$1," 'index($0, pid) { print $4 }'; }
for name in mon nbd $(osd_names); do
  for address in $(listening "${pid_of[$name]}"); do
    bounded 60 /usr/bin/python3 "$lib/garbage.py" "${address%:*}" "${address##*:}" ||
      complain "garbage on $name at $address"
    running "$name" || fail "$name died of garbage: $(tail -n 1 "${log_of[$name]}")"
  done
done

bounded 60 nbdcopy "$kept" - | cmp - <({ head -c 64k /dev/zero | tr '\0' '\132'; } && tail -c +65537 "$work/data") ||
  complain "the image changed"
still_serving kept
stop_cluster
((wrong == 0)) || fail "$wrong of the cases"
