"""A real mosquitto for tests: started on a free port, stopped, killed and started again.

Knows processes and config files; knows nothing of streamd.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

START_LIMIT_S = 20.0
ASK_AGAIN_S = 0.5


class MosquittoMissingError(Exception):
    """The program is not installed."""


@dataclass(frozen=True)
class Certificates:
    """PEM files of a server and the authority that its clients' certificates come from."""

    ca_file: Path
    cert_file: Path
    key_file: Path


class Mosquitto:
    """A broker on 127.0.0.1.

    Args:
        folder: for its config and, with `persistence`, its database; made if missing.
        persistence: sessions, retained and queued messages are on disk after each change, so that they survive `kill`.
        tls: serve TLS only, and ask clients for a certificate.
        passwords: user name -> password; nobody else gets in. None: everybody does.
        log_packets: put each packet into `log`; not where it is fast, as reading the log costs this process time.
        extra: more lines of config.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        folder: Path,
        *,
        persistence: bool = False,
        tls: Certificates | None = None,
        passwords: Mapping[str, str] | None = None,
        log_packets: bool = True,
        extra: Sequence[str] = (),
    ) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._log: list[str] = []
        self._said = threading.Condition()
        self._running = threading.Event()
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        lines = [f"listener {self.port} {self.host}", "log_dest stderr", f"persistence {persistence}"]
        lines += [f"log_type {kind}" for kind in ("error", "warning", "notice", "information")]
        if log_packets:
            lines.append("log_type all")
        if os.geteuid() == 0:
            lines.append("user root")  # else it gives up the right to read what the test wrote
        if persistence:
            lines += [f"persistence_location {folder}/", "autosave_on_changes true", "autosave_interval 1"]
        if tls is not None:
            lines += [f"cafile {tls.ca_file}", f"certfile {tls.cert_file}", f"keyfile {tls.key_file}"]
            lines.append("require_certificate true")
        if passwords is not None:
            lines.append(f"password_file {self._write_passwords(passwords)}")
        lines.append(f"allow_anonymous {passwords is None}")
        text = "\n".join([*lines, *extra, ""])
        self._config = folder / "mosquitto.conf"
        self._config.write_text(text.replace(" True", " true").replace(" False", " false"))

    @property
    def log(self) -> str:
        """What it has said so far."""
        return "".join(self._log)

    def wait_for_log(self, text: str, count: int = 1) -> None:
        """Until that many lines of the log hold the text.

        Raises:
            TimeoutError: they don't come.
        """
        with self._said:
            if not self._said.wait_for(lambda: sum(text in line for line in self._log) >= count, START_LIMIT_S):
                raise TimeoutError(f"not {count} times {text!r} in:\n{self.log}")

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> Mosquitto:
        """Start, or start again on the same port; returns when it accepts connections."""
        assert self._process is None, "runs already"
        self._running.clear()
        self._process = subprocess.Popen(
            [program("mosquitto"), "-c", str(self._config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read_log, args=(self._process,), daemon=True)
        self._reader.start()
        if not self._running.wait(START_LIMIT_S) or self._process.poll() is not None:
            self.kill()
            raise RuntimeError(f"mosquitto did not start:\n{self.log}")
        return self

    def stop(self) -> None:
        """End it in good order, if it runs."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would, if it runs."""
        self._end(signal.SIGKILL)

    def reload(self) -> None:
        """Have it read its config, certificates, passwords and rights anew; returns when it does."""
        said = self.log.count("Reloading config")
        os.kill(self.pid, signal.SIGHUP)
        self.wait_for_log("Reloading config", said + 1)

    def pause(self) -> None:
        """Let it hang: connections stay open and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """After `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        while process.poll() is None:
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)
            # Again until it is gone: a signal that comes right after the start is forgotten by mosquitto.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(ASK_AGAIN_S)
        self._reader.join()
        assert process.stderr is not None
        process.stderr.close()

    def _read_log(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            with self._said:
                self._log.append(line)
                self._said.notify_all()
            if line.rstrip().endswith("running"):
                self._running.set()
        self._running.set()  # it has ended: nothing to wait for

    def _write_passwords(self, passwords: Mapping[str, str]) -> Path:
        path = self._folder / "passwords"
        path.write_text("".join(f"{user}:{password}\n" for user, password in passwords.items()))
        path.chmod(0o600)
        subprocess.run([program("mosquitto_passwd"), "-U", str(path)], check=True, capture_output=True)
        return path


def program(name: str) -> str:
    """Where it is; Debian puts servers where a user's PATH does not look."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
    if path is None:
        raise MosquittoMissingError(f"{name} is missing: apt install mosquitto mosquitto-clients")
    return path


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
