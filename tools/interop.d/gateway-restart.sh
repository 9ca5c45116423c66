#!/usr/bin/env bash
# `nacre nbd` is restarted three times, by SIGTERM and by kill -9, under a client that reconnects: fio writes and verifies
# through qemu-nbd, whose NBD client has a reconnect-delay. The work completes with no I/O error and every block verifies.
# shellcheck source=tools/lib/section.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/section.sh"
begin_section gateway-restart
image steady 256M

bridge=$work/bridge.sock
spawn bridge qemu-nbd --persistent --shared=0 --socket="$bridge" --discard=unmap --cache=none --image-opts \
  "driver=raw,file.driver=nbd,file.server.type=inet,file.server.host=${nbd_addr%:*},file.server.port=${nbd_addr#*:},file.export=rbd/steady,file.reconnect-delay=60"
wait_until 20 "qemu-nbd to listen" test -S "$bridge"

spawn fio fio --name=steady --ioengine=nbd --uri="nbd+unix:///?socket=$bridge" --rw=randwrite --bs=16k --size=200m \
  --iodepth=16 --rate_iops=800 --verify=crc32c --verify_fatal=1 --do_verify=1

# The work goes on: the server's socket has taken bytes from the bridge since we looked.
received() { ss -Htin state established "sport = :${nbd_addr#*:}" | grep -o 'bytes_received:[0-9]*' | cut -d: -f2 | sort -n | tail -n 1; }
moved() { (($(received || echo 0) > $1)); }

for how in term kill term; do
  running fio || fail "fio ended before the gateway was restarted: the test shows nothing"
  wait_until 20 "writes to reach the gateway" moved 2000000
  if [[ $how == term ]]; then halt nbd; else slay nbd; fi
  start_nbd
done
wait_until 20 "writes to reach the restarted gateway" moved 100000

wait_until 90 "fio to finish" stopped fio
wait "${pid_of[fio]}" || fail "fio saw an error over restarts of the gateway"
forget "fio"
halt bridge
stop_cluster
