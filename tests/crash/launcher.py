"""Starts daemons in no time: a process that has imported everything forks one per request.

Knows the daemon's command line, faults and the audit; not what for. Its standard input is a socket: each request is
one message, and each answer too. When the asker is gone, so are all daemons.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import msgspec

import streamd.app  # what a daemon needs is there when it is forked
import streamd.edge.log
import streamd.edge.web  # noqa: F401
from streamd import __main__ as program
from tests.crash import audit, faults
from tests.crash.faults import Fault

READY = b"ready"


class Start(msgspec.Struct, frozen=True, tag=True):
    """Start a daemon; its standard error comes along as a file descriptor. The answer is its process id."""

    config: str
    fault: Fault | None
    audit: str | None


class Wait(msgspec.Struct, frozen=True, tag=True):
    """Answer with the exit code of a daemon, once it has ended; minus a signal's number, if that ended it."""

    pid: int


def serve(control: socket.socket) -> int:
    """Answer requests until there are none; in a daemon, its exit code."""
    control.send(READY)
    alive: set[int] = set()
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, 65_536, 1)
        if not data:
            for pid in alive:
                os.kill(pid, signal.SIGKILL)
            return 0
        request = msgspec.json.decode(data, type=Start | Wait)
        if isinstance(request, Start):
            pid = os.fork()
            if pid == 0:
                control.close()
                return _run(request, descriptors[0])
            os.close(descriptors[0])
            alive.add(pid)
            answer = pid
        else:
            _, status = os.waitpid(request.pid, 0)
            alive.remove(request.pid)
            answer = os.waitstatus_to_exitcode(status)
        control.send(str(answer).encode())


def _run(request: Start, errors: int) -> int:
    """Be a daemon."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for source, target in ((nothing, 0), (nothing, 1), (errors, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(errors)
    if request.fault is not None:
        faults.arm(request.fault)
    if request.audit is not None:
        audit.begin(Path(request.audit))
    sys.argv = ["streamd", "run", "-c", request.config]
    program.main()
    return 0


if __name__ == "__main__":
    with socket.socket(fileno=os.dup(0)) as asker:
        code = serve(asker)
    sys.exit(code)
