#!/usr/bin/env bash
# `nacre crushtool` beside Debian's crushtool: the same files, the same lines, and one line for every file that is no map.
set -euo pipefail
lib=$(cd "$(dirname "${BASH_SOURCE[0]}")/../lib" && pwd)
# shellcheck source=tools/lib/common.sh
source "$lib/common.sh"
start_work crushtool
cd "$work"

wrong=0
complain() {
  printf 'FAILED: %s\n' "$*" >&2
  wrong=$((wrong + 1))
}

# both ARGUMENTS...: what both tools print has to be the same, character by character.
both() {
  bounded 60 crushtool "$@" >theirs 2>theirs.err || complain "crushtool $*"
  bounded 60 "$NACRE" crushtool "$@" >ours 2>ours.err || complain "nacre crushtool $*"
  cmp -s theirs ours || complain "nacre crushtool $*: $(diff theirs ours | head -n 3 | tr '\n' '|')"
  cmp -s theirs.err ours.err || complain "nacre crushtool $*, stderr: $(diff theirs.err ours.err | head -n 3 | tr '\n' '|')"
}

# same COMMAND...: both tools write the file OUT, byte by byte the same; `OUT` among the words stands for it.
same() {
  rm -f theirs.map ours.map
  bounded 60 crushtool "${@/#OUT/theirs.map}" >theirs || complain "crushtool $*"
  bounded 60 "$NACRE" crushtool "${@/#OUT/ours.map}" >ours || complain "nacre crushtool $*"
  cmp -s theirs.map ours.map || complain "nacre crushtool $*: another file"
}

same --build --num_osds 64 host straw2 4 rack straw 4 root straw2 0 -o OUT
cp ours.map map
both -i map --tree
both -d map
trial=(--rule 0 --num-rep 3 --min-x 0 --max-x 4999)
both -i map --test --show-mappings "${trial[@]}"
both -i map --test --show-statistics "${trial[@]}"
both -i map --test --show-utilization "${trial[@]}" --weight 3 0.5 --weight 7 0
both -i map --test --show-utilization-all "${trial[@]}"
both -i map --test --show-bad-mappings --rule 0 --num-rep 18 --min-x 0 --max-x 99
both -i map --test --show-choose-tries "${trial[@]}"
both -i map --test --show-mappings --show-statistics --x 17
both -i map --test --show-mappings "${trial[@]}" --pool-id 7
both -i map --test --show-mappings "${trial[@]}" --set-choose-total-tries 3 --set-chooseleaf-stable 0 \
  --set-choose-local-tries 1 --set-choose-local-fallback-tries 2 --set-chooseleaf-vary-r 0 --set-chooseleaf-descend-once 0
"$NACRE" crushtool -d map -o text
same -c text -o OUT
cmp -s map ours.map || complain "the text of a map compiles to another"
"$NACRE" crushtool -i text --test --show-mappings "${trial[@]}" >ours
crushtool -i map --test --show-mappings "${trial[@]}" >theirs
cmp -s theirs ours || complain "a text maps as another map"
same -i map --add-item 64 1.5 osd.64 --loc host new --loc rack rack1 --loc root root -o OUT
same -i map --reweight-item osd.9 2.25 -o OUT
same -i map --remove-item osd.9 -o OUT
same -i map --create-simple-rule ec root host indep -o OUT
same -i map --create-replicated-rule other root rack -o OUT
same -i map --reweight -o OUT
same -i map --set-straw-calc-version 0 -o OUT

# refused WORD FILE: one line on stderr that holds the word, an exit status that is an error, and no time.
refused() {
  local status=0
  bounded 15 "$NACRE" crushtool -i "$2" --tree >ours 2>ours.err || status=$?
  ((status != 0 && status < 124)) || complain "$2: exit status $status"
  (($(wc -l <ours.err) == 1)) && grep -q -- "$1" ours.err || complain "$2: $(head -c 300 ours.err)"
}
head -c 70000000 /dev/zero >large
refused '64 MiB' large
head -c 100000 /dev/urandom >noise
refused 'line 1' noise
head -c 200 map >short
refused 'at byte' short
sed 's/item osd.5 weight/item osd.4 weight/' text >twice
refused 'line ' twice
: >empty
refused 'a map expected' empty
refused 'No such file' missing

((wrong == 0)) || fail "$wrong differences"
