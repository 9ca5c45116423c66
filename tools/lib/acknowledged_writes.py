#!/usr/bin/python3
"""Writes through NBD and remembers what was acknowledged; later says whether all of it is still there.

  acknowledged_writes.py write STATE URI [--seed N] [--depth 16] [--seconds S]
      writes at random, many requests in flight, until the connection dies or the time is up; saves what it knows
  acknowledged_writes.py check STATE URI
      reads everything back; exit status 1, and a line for each loss, when an acknowledged write is not there

The image is a set of slots of three sizes; the largest straddle blocks and objects. A slot has one request in flight at
a time, a new version with each. A write whose reply came must read back whole. A write whose reply never came may have
happened or not, sector by sector, but what was once read of it must not change again.
"""

import argparse
import errno
import hashlib
import json
import random
import struct
import sys
import time

import nbd

SECTOR = 512
ZONES = (  # offset, slot size, slots
    (0, 4096, 4096),
    (64 << 20, 64 << 10, 256),
    (128 << 20 | 1536, 1 << 20, 48),
)
NEEDED = 192 << 20
GONE = (errno.ENOTCONN, errno.ECONNRESET, errno.EPIPE)  # what libnbd tells of requests when the connection dies
ZERO_EVERY = 12  # one request in so many is a WRITE_ZEROES


def slots():
    """All slots as (offset, size)."""
    return [(start + i * size, size) for start, size, count in ZONES for i in range(count)]


def content(slot, version, size):
    """What version `version` of a slot holds; version 0 and every zeroing version hold zeroes."""
    if version == 0 or version % ZERO_EVERY == 0:
        return bytes(size)
    line = struct.pack(">QQ", slot << 32 | 0x4E61, version * 0x9E3779B97F4A7C15 % (1 << 64))
    return line * (size // len(line))


class State:
    """Of each slot that was ever written: the version acknowledged last, those in doubt, and the digest last read."""

    def __init__(self, path):
        self.path = path
        try:
            with open(path, encoding="ascii") as file:
                self.slots = {int(k): v for k, v in json.load(file).items()}
        except FileNotFoundError:
            self.slots = {}

    def save(self):
        with open(self.path, "w", encoding="ascii") as file:
            json.dump(self.slots, file)

    def __getitem__(self, slot):
        return self.slots.setdefault(slot, {"acked": 0, "doubt": [], "read": None})


def connect(uri):
    handle = nbd.NBD()
    handle.connect_uri(uri)
    if handle.get_size() < NEEDED:
        sys.exit(f"the image must have {NEEDED} bytes, and has {handle.get_size()}")
    return handle


def write(args):
    state = State(args.state)
    dice = random.Random(args.seed)
    handle = connect(args.uri)
    places = slots()
    # Few enough slots that many are written more than once.
    zone_of = [range(0, 1024), range(4096, 4096 + 128), range(4352, 4352 + 32)]
    busy = {}
    acknowledged = 0
    refused = []
    deadline = time.monotonic() + args.seconds

    def finish(slot, version, error):
        nonlocal acknowledged
        busy.pop(slot)
        if error.value == 0:
            acknowledged += 1
            known = state[slot]
            known["acked"], known["doubt"], known["read"] = version, [], None
        elif error.value not in GONE:
            refused.append(error.value)
        return 1

    def submit():
        slot = dice.choice(zone_of[dice.choices((0, 1, 2), (80, 17, 3))[0]])
        if slot in busy:
            return
        known = state[slot]
        version = max([known["acked"], *known["doubt"]]) + 1
        known["doubt"].append(version)
        known["read"] = None
        offset, size = places[slot]
        done = lambda error: finish(slot, version, error)
        busy[slot] = version
        if version % ZERO_EVERY == 0:
            handle.aio_zero(size, offset, completion=done)
        else:
            handle.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(content(slot, version, size))), offset, completion=done)

    ended = "by itself"
    try:
        while time.monotonic() < deadline and not refused:
            while len(busy) < args.depth and handle.aio_in_flight() < args.depth:
                submit()
            handle.poll(100)
        if not refused:
            while handle.aio_in_flight():
                handle.poll(1000)
    except nbd.Error:
        ended = "with the connection"
    if refused:
        ended = f"with error {refused[0]}"
    state.save()
    print(f"{acknowledged} writes acknowledged, {sum(1 for s in state.slots.values() if s['doubt'])} slots in doubt, "
          f"ended {ended}", flush=True)


def check(args):
    state = State(args.state)
    handle = connect(args.uri)
    places = slots()
    lost = 0
    for slot in sorted(state.slots):
        known = state.slots[slot]
        offset, size = places[slot]
        data = bytes(handle.pread(size, offset))
        allowed = [content(slot, v, size) for v in [known["acked"], *known["doubt"]]]
        wrong = None
        if data != allowed[0]:
            for at in range(0, size, SECTOR):
                if not any(data[at:at + SECTOR] == want[at:at + SECTOR] for want in allowed):
                    wrong = f"at byte {at}: {data[at:at + 16].hex()}"
                    break
        digest = hashlib.sha256(data).hexdigest()
        if not wrong and known["read"] not in (None, digest):
            wrong = "it changed after it had been read once"
        known["read"] = digest
        if wrong:
            lost += 1
            if lost <= 5:
                print(f"LOST slot {slot} (offset {offset}, {size} bytes, version {known['acked']}, "
                      f"in doubt {known['doubt']}) {wrong}")
    state.save()
    print(f"{len(state.slots)} slots checked, {lost} lost", flush=True)
    sys.exit(1 if lost else 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("write", "check"))
    parser.add_argument("state")
    parser.add_argument("uri")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--depth", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60)
    args = parser.parse_args()
    {"write": write, "check": check}[args.what](args)


main()
