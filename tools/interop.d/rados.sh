#!/usr/bin/env bash
# Objects by `nacre rados`, in the words and forms of Ceph's rados: data, attributes, maps, watchers that hear each other, a
# client that is shut out, a short bench, and what is wrong refused in a line.
# shellcheck source=tools/lib/section.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/section.sh"
begin_section rados

r() { bounded 30 "$NACRE" rados -m "$mon_addr" -p rbd "$@"; }
# shown TEXT COMMAND...: the command prints exactly this.
shown() {
  local want=$1 out
  shift
  out=$(r "$@") || fail "rados $*: exit status $?"
  [[ $out == "$want" ]] || fail "rados $*: '$out', not '$want'"
}
# refused LINE COMMAND...: exits with 1, as rados does, and prints one line on stderr that ends so.
refused() {
  local want=$1 status=0
  shift
  r "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
  ((status == 1)) || fail "rados $*: exit status $status, not 1"
  [[ $(wc -l <"$work/err") == 1 && $(<"$work/err") == *"$want" ]] || fail "rados $*: $(<"$work/err")"
}

# Data.
head -c 10000000 /dev/urandom >"$work/data"
r put big "$work/data"
r get big "$work/back"
cmp "$work/data" "$work/back"
r put - - <"$work/data"
r get - - | cmp "$work/data" -
printf hello | r put text -
printf ' world' | r append text -
shown 'hello world' get text -
printf XY | r put text - --offset 3
shown 'helXY world' get text -
r truncate text 5
shown helXY get text -
r stat text | grep -Eq '^rbd/text mtime [0-9T:.-]+[+-][0-9]{4}, size 5$' || fail "stat: $(r stat text)"
[[ $(r stat text --format json | jq -r '.name + " \(.size)"') == 'text 5' ]] || fail "stat as JSON"
r create empty
[[ $(r ls | sort | tr '\n' ' ') == '- big empty text ' ]] || fail "ls: $(r ls)"
[[ $(r ls --format json | jq -r '.[].name' | sort | tr '\n' ' ') == '- big empty text ' ]] || fail "ls as JSON"

# Attributes and maps.
r setxattr text colour red
printf 'from stdin' | r setxattr text long
shown $'colour\nlong' listxattr text
shown red getxattr text colour
r rmxattr text long
shown colour listxattr text
r setomapval text key value
printf 'a file' >"$work/value"
r setomapval text other --input-file "$work/value"
shown $'key\nother' listomapkeys text
shown $'key\nvalue (5 bytes) :\n00000000  76 61 6c 75 65                                    |value|\n00000005\n\nother\nvalue (6 bytes) :\n00000000  61 20 66 69 6c 65                                 |a file|\n00000006' \
  listomapvals text
r getomapval text other "$work/got"
cmp "$work/value" "$work/got"
r rmomapkey text key
shown other listomapkeys text
r clearomap text
shown '' listomapkeys text

# What is wrong.
refused 'error getting rbd/nothing: (2) No such file or directory' get nothing "$work/none"
[[ ! -e $work/none ]] || fail "a failed get left a file"
refused 'error stat-ing rbd/nothing: (2) No such file or directory' stat nothing
refused 'error removing rbd/nothing: (2) No such file or directory' rm nothing
refused 'error creating rbd/empty: (17) File exists' create empty
refused 'error getting xattr rbd/text/none: (61) No data available' getxattr text none
refused 'No such key: rbd/text/none' getomapval text none
status=0
n rados -p none ls >"$work/out" 2>"$work/err" || status=$?
[[ $status == 1 && $(<"$work/err") == *'error opening pool none: (2) No such file or directory' ]] || fail "ls of no pool"
r rm big empty -

# Two watchers hear a notification and answer it; one that is stopped is named.
mkfifo "$work/in1" "$work/in2"
for i in 1 2; do
  exec {fd}<>"$work/in$i"
  spawn "watch$i" bash -c 'exec "$@" <"$0"' "$work/in$i" "$NACRE" rados -m "$mon_addr" -p rbd watch text
  declare "fd$i=$fd"
done
two_watch() { [[ $(r listwatchers text | grep -c '^watcher=.* client\.[0-9a-f]* cookie=[0-9]*$') == "$1" ]]; }
wait_until 10 "two watchers" two_watch 2
r notify text hey >"$work/answers"
[[ $(grep -c '^reply client\.[0-9a-f]* cookie [0-9]* : 3 bytes$' "$work/answers") == 2 ]] || fail "notify: $(<"$work/answers")"
for i in 1 2; do
  grep -q '^NOTIFY cookie [0-9]* notify_id [0-9]* from client\.' "${log_of[watch$i]}" || fail "watcher $i heard nothing"
done

# Shut out, a client learns it, and its watch is gone.
victim=$(r listwatchers text | sed -n 's/.* \(client\.[0-9a-f]*\) cookie.*/\1/p' | head -n 1)
n osd blocklist add "$victim" 100 >"$work/out"
[[ $(<"$work/out") == "blocklisting $victim until "*"(100 sec)"* ]] || fail "blocklist add: $(<"$work/out")"
n osd blocklist ls | grep -q "^$victim " || fail "blocklist ls"
wait_until 10 "the watch of a blocklisted client to end" two_watch 1
grep -q 'ERROR cookie [0-9]* err (108)' "${log_of[watch1]}" "${log_of[watch2]}" || fail "the blocklisted client does not know"
n osd blocklist rm "$victim" >"$work/out"
[[ $(n osd blocklist ls) == 'listed 0 entries' ]] || fail "blocklist rm"

# Pressed enter, a watcher leaves.
printf '\n' >&"$fd1"
printf '\n' >&"$fd2"
wait_until 10 "no watcher" two_watch 0
r notify text hey >"$work/answers"
[[ ! -s $work/answers ]] || fail "notify without watchers: $(<"$work/answers")"

# A bench whose objects reads find, and that leaves nothing when it is not told to.
refused 'use bench write --no-cleanup' bench 1 seq
r bench 1 write -b 65536 --no-cleanup >"$work/bench"
grep -Eq '^Total writes made: +[1-9]' "$work/bench" && grep -q '^Average Latency(s): ' "$work/bench" || fail "bench write"
r bench 1 rand -t 4 --format json | jq -e '.total_made > 0 and .size == 65536' >/dev/null || fail "bench rand"
r bench 1 seq | grep -Eq '^Total reads made: +[1-9]' || fail "bench seq"
before=$(r ls | wc -l)
r bench 1 write -b 4096 >"$work/bench"
(($(r ls | wc -l) == before)) || fail "bench leaves objects"
