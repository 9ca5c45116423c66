#!/usr/bin/env bash
# An administrator shapes where data goes: hierarchy, classes, rules, weights, upmaps, the balancer, and the CRUSH map through
# Ceph's crushtool and back. The image reads the same at the end, and what is wrong is refused in a line.
# shellcheck source=tools/lib/section.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/section.sh"
begin_section placement 4
image kept 64M
kept=$uri
head -c 64M /dev/urandom >"$work/data"
bounded 60 nbdcopy "$work/data" "$kept"

# refused STATUS PART COMMAND...: exits with STATUS and one line on stderr that has PART in it.
refused() {
  local want=$1 part=$2 status=0
  shift 2
  n "$@" >"$work/out" 2>"$work/err" || status=$?
  ((status == want)) || fail "nacre $*: exit status $status, not $want"
  [[ $(wc -l <"$work/err") == 1 && $(<"$work/err") == *"$part"* ]] || fail "nacre $*: $(<"$work/err")"
}

# The hierarchy, by name.
for host in 0 1 2 3; do
  n osd crush set "osd.$host" 1.0 root=default "host=h$host" >>"$work/log/commands.txt"
done
n osd crush add-bucket r0 rack root=default
n osd crush move h0 rack=r0
n osd crush set-device-class ssd 0 1 2
n osd crush rule create-replicated fast default osd ssd
n osd tree >"$work/tree"
grep -Eq '^ *0 +ssd +1\.00000 +osd\.0 +up +1\.00000 +1\.00000$' "$work/tree" || fail "osd tree: $(<"$work/tree")"
[[ $(n osd crush rule ls) == $'replicated_rule\nfast' ]] || fail "rule ls"
empty=$(n osd tree --format json | jq -r '.nodes[] | select(.children == []).name')
n osd crush rm "$empty"
n osd tree --format json | jq -e '.nodes[0].name == "default" and (.nodes | length) == 10' >/dev/null || fail "tree as JSON"

# The CRUSH map goes to crushtool and comes back the same; what crushtool changes is taken.
n osd getcrushmap -o "$work/crush"
bounded 20 crushtool -d "$work/crush" -o "$work/crush.txt"
grep -q 'step take default class ssd' "$work/crush.txt" || fail "crushtool reads: $(<"$work/crush.txt")"
sed 's/rule fast {/rule faster {/' "$work/crush.txt" >"$work/new.txt"
bounded 20 crushtool -c "$work/new.txt" -o "$work/new"
n osd setcrushmap -i "$work/new"
[[ $(n osd crush rule ls) == $'replicated_rule\nfaster' ]] || fail "the map of crushtool is not in force"
n osd setcrushmap -i "$work/crush.txt"
[[ $(n osd crush rule ls) == $'replicated_rule\nfast' ]] || fail "the text map is not in force"
sed 's/step chooseleaf firstn 0 type.*/step chooseleaf firstn 0 type region/; s/step choose firstn 0 type osd/step choose firstn 0 type region/' \
  "$work/crush.txt" >"$work/nowhere.txt"
refused 22 "would have no OSD" osd setcrushmap -i "$work/nowhere.txt"
head -c 4096 /dev/urandom >"$work/noise"
refused 22 "not valid" osd setcrushmap -i "$work/noise"
refused 2 "$work/absent" osd setcrushmap -i "$work/absent"
truncate -s 65M "$work/huge"
refused 27 "MiB" osd setcrushmap -i "$work/huge"

# The same hierarchy and the same places of objects in an OSD map of Ceph that has this CRUSH map.
{
  osdmaptool --createsimple 4 --pg-bits 4 --with-default-pool "$work/ceph"
  osdmaptool "$work/ceph" --import-crush "$work/crush"
} >"$work/log/osdmaptool.txt" 2>&1
nodes='[.nodes[] | {id, name, type, type_id, device_class, children}]'
diff <(osdmaptool "$work/ceph" --tree=json 2>/dev/null | jq -S "$nodes") <(n osd tree --format json | jq -S "$nodes") ||
  fail "osd tree differs from osdmaptool --tree"
for ((i = 0; i < 40; i++)); do
  theirs=$(osdmaptool "$work/ceph" --mark-up-in --test-map-object "object.$i" --pool 1 2>/dev/null | sed -n 's/.* -> \(.*\) -> \[\(.*\)\]/\1 \2/p')
  ours=$(n osd map rbd "object.$i" --format json | jq -r '"\(.pgid) \(.acting | join(","))"')
  [[ -n $ours && $ours == "$theirs" ]] || fail "object.$i is on $ours, osdmaptool says $theirs"
done
n osd map rbd rbd_directory >"$work/where"
grep -Eq "^osdmap e[0-9]+ pool 'rbd' \(1\) object 'rbd_directory' -> pg 1\.[0-9a-f]+ \(1\.[0-9a-f]+\) -> up \(\[[0-9],[0-9],[0-9]\], p[0-9]\) acting" \
  "$work/where" || fail "osd map: $(<"$work/where")"
refused 2 "pool 'none'" osd map none x

# Weights, affinity, upmaps, and the balancer.
n osd primary-affinity 1 0
n osd reweight 2 0.9
n osd reweight 2 1
refused 22 "1.0" osd reweight 2 1.5
refused 2 "osd.9" osd reweight 9 0.5
refused 22 "is no group" osd pg-upmap-items frog 1 2
n osd getmap -o "$work/osdmap"
n osd balance --dry-run >"$work/plan"
"$NACRE" osd balance --dry-run --map "$work/osdmap" >"$work/offline"
cmp "$work/plan" "$work/offline" || fail "the plan without a cluster is another"
refused 22 "no OSD map" osd balance --dry-run --map "$work/noise"
n osd balance >"$work/balanced"
n osd df --format json | jq -e '.summary.lowest_pgs >= -1 and .summary.highest_pgs <= 1' >/dev/null || fail "osd df: $(n osd df)"
n osd df tree | grep -q 'rack r0' || fail "osd df tree: $(n osd df tree)"

served() { n status --format json | jq -e '[.pgmap.waiting[].count] | add // 0 | . == 0' >/dev/null; }
wait_until 60 "all groups to serve where they were put" served
bounded 60 nbdcopy "$kept" - | cmp - "$work/data" || fail "the image differs after its groups were moved"
stop_cluster
