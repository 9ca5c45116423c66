#!/usr/bin/python3
"""usage: garbage.py HOST PORT: what a listening port must survive: random bytes, truncated and oversized starts of the
NBD handshake, lengths that lie, connections that end at once, and many that say nothing. The caller looks whether the
daemon still lives and serves."""

import random
import socket
import struct
import sys
from concurrent.futures import ThreadPoolExecutor

address = (sys.argv[1].strip("[]"), int(sys.argv[2]))
dice = random.Random(20201)
OPTION = b"IHAVEOPT"
inputs = [
    b"",
    b"\0",
    b"\0" * 65536,
    b"\xff" * 65536,
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    struct.pack(">I", 3) + OPTION + struct.pack(">II", 7, 0xFFFFFFFF),
    struct.pack(">I", 3) + OPTION + struct.pack(">II", 7, 10) + struct.pack(">I", 0xFFFFFFFF) + b"name",
    struct.pack(">I", 3) + OPTION + struct.pack(">II", 1, 4096) + b"x" * 4096,
    struct.pack(">I", 3) + OPTION + struct.pack(">II", 0x7FFFFFFF, 8) + b"whatever",
    struct.pack(">I", 0xFFFFFFFF),
    struct.pack(">I", 3) + (OPTION + struct.pack(">II", 3, 0)) * 500,
    struct.pack(">I", 3) + OPTION[:5],
    struct.pack("<QQQQ", 1, 2, 3, 1 << 63) * 64,
]
for size in (1, 7, 64, 100, 4096, 300000):
    inputs += [dice.randbytes(size) for _ in range(4)]


def provoke(data, abrupt, tail):
    with socket.create_connection(address, 10) as peer:
        peer.settimeout(0.2)
        if abrupt:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        try:
            peer.sendall(data)
            # What the daemon said first may serve as the start of a nastier second part.
            greeting = peer.recv(4096)
            peer.sendall(greeting[: len(greeting) // 2] + tail)
            peer.recv(65536)
        except OSError:
            pass  # it may close on us at any time


try:
    with ThreadPoolExecutor(16) as pool:
        jobs = [pool.submit(provoke, data, abrupt, dice.randbytes(32)) for data in inputs for abrupt in (False, True)]
        for job in jobs:
            job.result()
    idle = [socket.create_connection(address, 10) for _ in range(200)]
    for peer in idle:
        peer.close()
    socket.create_connection(address, 10).close()
except OSError as error:
    sys.exit(f"{address[0]}:{address[1]} does not accept connections any more: {error}")
