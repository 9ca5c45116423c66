#!/usr/bin/env bash
# fio writes blocks of many sizes with checksums in them, and trims; everything verifies at once, after the whole cluster
# was stopped and started, and after kill -9 of every process.
# shellcheck source=tools/lib/section.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/section.sh"
begin_section verify
image checked 512M

jobs=$work/checked.fio
cat >"$jobs" <<JOBS
[global]
ioengine=nbd
uri=$uri
rw=randwrite
verify=crc32c
verify_fatal=1
randrepeat=1
randseed=20201
group_reporting=1

[sectors]
bs=512
offset=0
size=1m
iodepth=8

[pages]
bs=4k
offset=32m
size=24m
iodepth=32

[mixed]
bssplit=1k/10:4k/40:12k/20:64k/20:256k/10
blockalign=1k
offset=64m
size=96m
iodepth=16

[odd]
bs=36k
offset=192m
size=36m
iodepth=8

[large]
bs=1m
offset=256m
size=96m
iodepth=4
JOBS
verify() { bounded 100 fio "$jobs" "$@" >"$work/log/fio.log" 2>&1 || fail "fio $*"; }
verify --do_verify=1

# Trims among writes: every block is trimmed, then written, then verified, by four clients with one request in flight
# each, as fio does not wait for the trim of a block before it writes it. Then a written area is trimmed at random until
# all of it is gone, and reads as zeroes, as our TRIM frees whole blocks. (fio 3.33 dies of its own --trim_backlog here.)
trims=(fio --name=trims --ioengine=nbd --uri="$uri")
bounded 60 "${trims[@]}" --rw=randtrimwrite --bs=64k --numjobs=4 --offset=400m --offset_increment=12m --size=12m --verify=crc32c --verify_fatal=1 \
  --do_verify=1 >"$work/log/fio-trim.log" 2>&1 || fail "fio with trims among writes"
bounded 60 "${trims[@]}" --rw=write --iodepth=4 --bs=256k --offset=448m --size=32m >"$work/log/fio-trim.log" 2>&1
bounded 60 "${trims[@]}" --rw=randtrim --iodepth=16 --bs=32k --offset=448m --size=32m >"$work/log/fio-trim.log" 2>&1
bounded 30 nbdcopy "$uri" - | tail -c +$(((448 << 20) + 1)) | cmp - <(head -c 64M /dev/zero) ||
  fail "a trimmed area does not read as zeroes"

stop_cluster
start_cluster
verify --verify_only

kill_cluster
start_cluster
verify --verify_only

# Write again over what was there, kill in the middle of nothing in particular, verify what was acknowledged before.
verify --do_verify=1 --randseed=20202
kill_cluster
start_cluster
verify --verify_only --randseed=20202
stop_cluster
