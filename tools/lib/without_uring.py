"""Runs a command where io_uring is forbidden, as container runtimes forbid it: a seccomp filter answers EPERM.

usage: without_uring.py COMMAND...
"""

import ctypes
import os
import struct
import sys

PR_SET_SECCOMP, SECCOMP_MODE_FILTER, PR_SET_NO_NEW_PRIVS = 22, 2, 38
IO_URING_SETUP = 425  # the same number on every architecture
EPERM = 1
ALLOW, ERRNO = 0x7FFF0000, 0x00050000


def instruction(code, jump_true, jump_false, value):
    return struct.pack("HBBI", code, jump_true, jump_false, value)


program = b"".join(
    [
        instruction(0x20, 0, 0, 0),  # load the number of the call
        instruction(0x15, 0, 1, IO_URING_SETUP),
        instruction(0x06, 0, 0, ERRNO | EPERM),
        instruction(0x06, 0, 0, ALLOW),
    ]
)


class Program(ctypes.Structure):
    _fields_ = [("count", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


libc = ctypes.CDLL(None, use_errno=True)
filter = Program(len(program) // 8, program)
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(filter)):
    sys.exit(f"cannot set the filter: {os.strerror(ctypes.get_errno())}")
os.execvp(sys.argv[1], sys.argv[1:])
