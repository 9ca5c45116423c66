#!/usr/bin/env bash
# The disk of every OSD is small and fills up: the client gets ENOSPC or EIO and never a wrong success, nothing dies,
# and everything that was acknowledged is there, at once and after a restart.
# shellcheck source=tools/lib/section.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/section.sh"
start_work full-disk
cd "$work"
define_cluster "$work/cluster" 3
for n in 0 1 2; do
  mkdir -p "$cluster/osd.$n"
  truncate -s 1G "$work/disk.$n"
  mkfs.ext4 -q -F "$work/disk.$n"
  loop=$(losetup -f --show "$work/disk.$n")
  on_exit losetup -d "$loop"
  mount "$loop" "$cluster/osd.$n"
  on_exit umount -l "$cluster/osd.$n"
  rmdir "$cluster/osd.$n/lost+found"
done
start_cluster
image big 4G

# In order, 1 MiB each with its number in it, until one is refused; the answer is how many were acknowledged.
acknowledged=$(bounded 150 /usr/bin/python3 - "$uri" <<'PYTHON'
import errno, struct, sys
import nbd
handle = nbd.NBD()
handle.connect_uri(sys.argv[1])
for number in range(handle.get_size() >> 20):
    try:
        handle.pwrite(struct.pack(">Q", number + 1) * (1 << 17), number << 20)
    except nbd.Error as error:
        if error.errno not in ("ENOSPC", "EIO"):
            sys.exit(f"the disk is full, and the client is told {error.errno}")
        print(number)
        break
else:
    sys.exit("the disks took more than they hold")
PYTHON
) || fail "writing until the disk is full: $acknowledged"
((acknowledged >= 64)) || fail "only $acknowledged MiB fit on a disk of 1 GiB"

all_there() {
  bounded 60 /usr/bin/python3 - "$uri" "$acknowledged" <<'PYTHON'
import struct, sys
import nbd
handle = nbd.NBD()
handle.connect_uri(sys.argv[1])
for number in range(int(sys.argv[2])):
    if handle.pread(1 << 20, number << 20) != struct.pack(">Q", number + 1) * (1 << 17):
        sys.exit(f"MiB {number} was acknowledged and differs")
PYTHON
}
all_there || fail "the full cluster lost data"
bounded 20 "$NACRE" status -m "$mon_addr" >"$work/log/status.log" || fail "nacre status of a full cluster"
stop_cluster
start_cluster
all_there || fail "the full cluster lost data when it was restarted"
kill_cluster
start_cluster
all_there || fail "the full cluster lost data in kill -9"
stop_cluster
