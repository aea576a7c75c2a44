"""Runs streamd as its unit would: no memory made executable, and no system calls but those of the unit's filter.

    python tests/deploy/confined.py CALL,CALL,... run -c FILE

The first argument names the calls that are allowed; "" leaves them all. Where systemd is not the first process, nothing
else of the unit can be had without root: the rest is judged by systemd-analyze.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys
from collections.abc import Sequence

ALLOW, ERRNO = 0x7FFF0000, 0x00050000 | errno.EPERM  # of seccomp(2)
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, FILTER_MODE = 22, 38, 2
MMAP, MPROTECT, PKEY_MPROTECT = {"x86_64": (9, 10, 329), "aarch64": (222, 226, 288)}[platform.machine()]
LOAD, AND, EQUALS, RETURN = 0x20, 0x54, 0x15, 0x06  # of classic BPF
NUMBER, PROT = 0, 32  # offsets in seccomp_data, little endian
WRITE, EXEC = 2, 4

libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def deny_write_execute() -> None:
    """What systemd 252 does for MemoryDenyWriteExecute: mmap of both rights, and mprotect that adds the second."""
    code = (
        (LOAD, 0, 0, NUMBER),
        (EQUALS, 0, 3, MMAP),
        (LOAD, 0, 0, PROT),
        (AND, 0, 0, WRITE | EXEC),
        (EQUALS, 6, 5, WRITE | EXEC),
        (EQUALS, 1, 0, MPROTECT),
        (EQUALS, 0, 3, PKEY_MPROTECT),
        (LOAD, 0, 0, PROT),
        (AND, 0, 0, EXEC),
        (EQUALS, 1, 0, EXEC),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, ERRNO),
    )
    program = _Program(len(code), b"".join(struct.pack("=HBBI", *one) for one in code))
    _call(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _call(libc.prctl(PR_SET_SECCOMP, FILTER_MODE, ctypes.byref(program), 0, 0))


def allow_only(names: Sequence[str]) -> None:
    """A filter of system calls; those that this machine does not know are passed over, as systemd does."""
    seccomp = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(ERRNO))
    for name in names:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            _call(seccomp.seccomp_rule_add(context, ALLOW, number, 0))
    _call(seccomp.seccomp_load(context))


def _call(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), f"seccomp: {result}")


if __name__ == "__main__":
    deny_write_execute()
    allowed = sys.argv.pop(1)
    if allowed:
        allow_only(allowed.split(","))
    from streamd.__main__ import main

    main()
