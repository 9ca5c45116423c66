#!/usr/bin/python3
"""A client of an image over NBD that knows what every block must hold.

  model_client.py URI [--seed N] [--connections 4] [--depth 4] [--blocks N] [--status FILE]

Writes, reads, zeroes and trims at random over several connections, flushes now and then, and compares every read with a
model in memory, block by block of 4 KiB. The model is that of a linearizable disk: a read gives the newest write that had
been answered when the read was sent, or a later one, and what was read once is never taken back, by no connection. A
block has one change under way at a time. An error, or a connection that ends, is a finding like a wrong block.

It takes orders on standard input, a line each, and answers each with a line: `pause` (all that is under way has ended),
`check` (pauses, and reads every block), `go`, and `quit` (checks and ends). After a finding it prints a line that
begins with FOUND, and exits with 1. The state of the work is written to FILE every second, as JSON.
"""

import argparse
import json
import os
import random
import select
import struct
import sys
import time
from array import array

import nbd

BLOCK = 4096
LARGEST = 48  # blocks of one request; objects are 1024 blocks
ZEROES = bytes(BLOCK)


class Finding(Exception):
    """The disk is not what it must be."""


class Model:
    """What each block may hold. Versions of a block grow; an odd version holds zeroes."""

    def __init__(self, blocks, seed):
        self.seed = seed
        self.latest = array("Q", bytes(8 * blocks))  # the newest change that was sent
        self.floor = array("Q", bytes(8 * blocks))  # the newest change that is known to have happened
        self.zeroed = array("Q", bytes(8 * blocks))  # the newest change to zeroes that was sent
        self.zeroed_before = array("Q", bytes(8 * blocks))  # and the one before it
        self.changing = set()

    def begin(self, block, zero):
        version = (self.latest[block] | 1) + 1 + zero
        self.latest[block] = version
        if zero:
            self.zeroed_before[block], self.zeroed[block] = self.zeroed[block], version
        self.changing.add(block)
        return version

    def ended(self, block, version):
        self.changing.discard(block)
        self.floor[block] = max(self.floor[block], version)

    def content(self, block, version):
        return struct.pack("<QII", version, block, self.seed & 0xFFFFFFFF) * (BLOCK // 16)

    def judge(self, block, data, least):
        """What a read of the block gave that was sent when `least` was known to have happened."""
        if data == ZEROES:
            newest = self.zeroed[block]
            if least == 0 or least & 1:
                return  # it may be the same zeroes still
            if newest < least:
                raise Finding(f"block {block} reads as zeroes, and version {least >> 1} had been there"
                              f" (newest {self.latest[block] >> 1})")
            if self.zeroed_before[block] < least:
                self.floor[block] = max(self.floor[block], newest)
            return
        version, owner, seed = struct.unpack_from("<QII", data)
        if owner != block or seed != self.seed & 0xFFFFFFFF or data != self.content(block, version):
            raise Finding(f"block {block} holds what was never written to it: {data[:16].hex()} … {data[-16:].hex()}"
                          f" (version {least >> 1} had been there, newest {self.latest[block] >> 1})")
        if not least <= version <= self.latest[block]:
            raise Finding(f"block {block} holds version {version >> 1}, and {least >> 1} had been there"
                          f" (newest {self.latest[block] >> 1})")
        self.floor[block] = max(self.floor[block], version)


class Connection:
    def __init__(self, uri):
        self.handle = nbd.NBD()
        self.handle.connect_uri(uri)
        self.busy = 0


class Client:
    def __init__(self, args):
        self.args = args
        self.dice = random.Random(args.seed)
        self.model = Model(args.blocks, args.seed)
        self.connections = [Connection(args.uri) for _ in range(args.connections)]
        size = self.connections[0].handle.get_size()
        if size < args.blocks * BLOCK:
            sys.exit(f"the image must have {args.blocks * BLOCK} bytes, and has {size}")
        self.counts = dict.fromkeys(("write", "read", "zero", "trim", "flush"), 0)
        self.done = 0
        self.progress = time.monotonic()
        self.longest = 0.0
        self.paused = False
        self.found = None
        # Half of the work meets in a few places, of which one lies across two objects.
        self.hot = [self.dice.randrange(args.blocks - 64) for _ in range(24)] + [1024 - 20]

    # Requests

    def submit(self, connection):
        dice = self.dice
        kind = dice.choices(("write", "read", "zero", "trim", "flush"), (44, 42, 6, 5, 3))[0]
        if kind == "flush":
            return self.send(connection, "flush", 0, 0, None)
        count = 1 if dice.random() < 0.6 else dice.randrange(1, LARGEST)
        if dice.random() < 0.5:
            first = dice.choice(self.hot) + dice.randrange(40)
        else:
            first = dice.randrange(self.args.blocks)
        count = min(count, self.args.blocks - first)
        if kind == "read":
            return self.send(connection, "read", first, count, None)
        # What is being changed already is left alone.
        for block in range(first, first + count):
            if block in self.model.changing:
                count = block - first
                break
        if count > 0:
            zero = kind != "write"
            self.send(connection, kind, first, count, [self.model.begin(b, zero) for b in range(first, first + count)])

    def send(self, connection, kind, first, count, versions):
        handle = connection.handle
        offset, size = first * BLOCK, count * BLOCK
        began = time.monotonic()
        buffer = least = None

        def completed(error):
            connection.busy -= 1
            self.counts[kind] += 1
            self.done += 1
            now = time.monotonic()
            self.longest = max(self.longest, now - began)
            self.progress = now
            if error.value:
                self.report(f"{kind} of {count} blocks at {first} gave {os.strerror(error.value)} after"
                            f" {now - began:.1f} s")
            elif kind == "read":
                self.take(first, count, buffer, least)
            elif versions:
                for block, version in enumerate(versions, first):
                    self.model.ended(block, version)
            return 1

        if not self.busy():
            self.progress = began
        connection.busy += 1
        if kind == "read":
            least = list(self.model.floor[first:first + count])
            buffer = nbd.Buffer(size)
            handle.aio_pread(buffer, offset, completion=completed)
        elif kind == "write":
            content = b"".join(self.model.content(b, v) for b, v in enumerate(versions, first))
            flags = nbd.CMD_FLAG_FUA if self.dice.random() < 0.1 else 0
            handle.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(content)), offset, completion=completed, flags=flags)
        elif kind == "zero":
            flags = nbd.CMD_FLAG_NO_HOLE if self.dice.random() < 0.5 else 0
            handle.aio_zero(size, offset, completion=completed, flags=flags)
        elif kind == "trim":
            handle.aio_trim(size, offset, completion=completed)
        else:
            handle.aio_flush(completion=completed)

    def take(self, first, count, buffer, least):
        data = bytes(buffer.to_bytearray())
        try:
            for index in range(count):
                self.model.judge(first + index, data[index * BLOCK:(index + 1) * BLOCK], least[index])
        except Finding as finding:
            self.report(str(finding))

    def report(self, text):
        # An exception would be lost in the library's callback.
        self.found = self.found or text

    # Turns

    def busy(self):
        return sum(connection.busy for connection in self.connections)

    def turn(self, milliseconds):
        poll = select.poll()
        by_descriptor = {}
        for connection in self.connections:
            direction = connection.handle.aio_get_direction()
            events = (select.POLLIN if direction & nbd.AIO_DIRECTION_READ else 0) | (
                select.POLLOUT if direction & nbd.AIO_DIRECTION_WRITE else 0)
            descriptor = connection.handle.aio_get_fd()
            by_descriptor[descriptor] = connection.handle
            poll.register(descriptor, events)
        poll.register(sys.stdin, select.POLLIN)
        for descriptor, events in poll.poll(milliseconds):
            if descriptor == sys.stdin.fileno():
                self.obey(sys.stdin.readline().strip())
                continue
            handle = by_descriptor[descriptor]
            if events & (select.POLLIN | select.POLLHUP) and handle.aio_get_direction() & nbd.AIO_DIRECTION_READ:
                handle.aio_notify_read()
            elif events & select.POLLOUT and handle.aio_get_direction() & nbd.AIO_DIRECTION_WRITE:
                handle.aio_notify_write()
            elif events & (select.POLLERR | select.POLLNVAL):
                raise Finding("the connection broke")
            if handle.aio_is_dead() or handle.aio_is_closed():
                raise Finding("the server ended the connection")
        if self.found:
            raise Finding(self.found)
        self.tell()

    def drain(self):
        while self.busy():
            self.turn(200)

    def obey(self, order):
        self.orders.append(order or "quit")

    def check(self):
        """Reads every block, over all connections."""
        self.drain()
        for first in range(0, self.args.blocks, 256):
            connection = min(self.connections, key=lambda one: one.busy)
            while connection.busy >= 4:
                self.turn(200)
            self.send(connection, "read", first, min(256, self.args.blocks - first), None)
        self.drain()

    def tell(self, now=False):
        if not self.args.status or not now and time.monotonic() < self.told + 0.5:
            return
        self.told = time.monotonic()
        state = {
            "done": self.done, "busy": self.busy(), "paused": self.paused,
            "stalled": round(self.told - self.progress, 1) if self.busy() else 0,
            "longest": round(self.longest, 2), **self.counts,
        }
        with open(self.args.status + ".next", "w", encoding="ascii") as file:
            json.dump(state, file)
        os.replace(self.args.status + ".next", self.args.status)

    def run(self):
        self.orders = []
        self.told = 0.0
        print("ready", flush=True)
        while True:
            if not self.paused:
                for connection in self.connections:
                    while connection.busy < self.args.depth:
                        self.submit(connection)
            self.turn(200)
            while self.orders:
                order = self.orders.pop(0)
                self.paused = order != "go"
                if order == "pause":
                    self.drain()
                elif order in ("check", "quit"):
                    self.check()
                self.tell(now=True)
                print(f"{order}: {self.done} requests, {self.counts}, longest {self.longest:.2f} s", flush=True)
                if order == "quit":
                    return


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("uri")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--blocks", type=int, default=24576)
    parser.add_argument("--status")
    client = Client(parser.parse_args())
    try:
        client.run()
    except (Finding, nbd.Error) as error:
        print(f"FOUND {error}", flush=True)
        sys.exit(1)


main()
