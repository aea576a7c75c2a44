"""Makes what deploy/compose.yaml mounts: an authority, the broker's certificate, and passwords.

    python3 deploy/make_secrets.py [--name HOST]... [--device NAME]...

Needs Python and the openssl command, nothing installed. What is there is kept, so that it can be run again for one more
device; delete a file to have it made anew. The folder is for its owner alone; the files in it are not, as the users
inside the containers are others.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import ipaddress
import re
import secrets
import subprocess
import tempfile
from pathlib import Path

PEOPLE = ("streamd", "viewer", "operator")  # who the broker's acl knows by name
DAYS = 3650
ITERATIONS = 10_000  # of PBKDF2; the passwords are random, so few would do


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Make certificates and passwords for deploy/compose.yaml.")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "secrets", help="where to")
    parser.add_argument(
        "--name", action="append", default=[], help="a host name or address that devices know the broker by"
    )
    parser.add_argument(
        "--device", action="append", default=[], help="a device: {stream} of its topic and its user name"
    )
    given = parser.parse_args(arguments)
    for device in given.device:
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", device):
            parser.error(f"--device {device}: expected letters, digits, _ . and -")
    given.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    certificates(given.folder, ["mosquitto", "localhost", "127.0.0.1", *given.name])
    passwords(given.folder, [*PEOPLE, *given.device])
    password(given.folder / "grafana.password")


def certificates(folder: Path, names: list[str]) -> None:
    """An authority, and a server's certificate for these names."""
    ca = [folder / "ca.crt", folder / "ca.key"]
    if not all(path.exists() for path in ca):
        subject = ["-subj", "/CN=streamd authority", "-days", str(DAYS)]
        openssl("req", "-x509", *new_key(ca[1]), "-out", str(ca[0]), *subject)
        ca[1].chmod(0o600)  # no container needs it
    certificate, key = folder / "server.crt", folder / "server.key"
    if certificate.exists() and key.exists():
        return
    with tempfile.TemporaryDirectory() as scratch:
        request, extension = Path(scratch, "request"), Path(scratch, "extension")
        extension.write_text("subjectAltName=" + ",".join(map(alternative, names)) + "\nextendedKeyUsage=serverAuth\n")
        openssl("req", "-new", *new_key(key), "-out", str(request), "-subj", "/CN=mosquitto")
        signer = ["-CA", str(ca[0]), "-CAkey", str(ca[1]), "-set_serial", str(secrets.randbits(64))]
        openssl(
            "x509",
            "-req",
            "-in",
            str(request),
            *signer,
            "-out",
            str(certificate),
            "-days",
            str(DAYS),
            "-extfile",
            str(extension),
        )
    key.chmod(0o644)


def passwords(folder: Path, users: list[str]) -> None:
    """A password for each user, in a file of its own, and the hashes of all in mosquitto's file."""
    for user in users:
        password(folder / f"{user}.password")
    known = sorted(path for path in folder.glob("*.password") if path.name != "grafana.password")
    lines = [f"{path.name.removesuffix('.password')}:{hashed(path.read_text())}\n" for path in known]
    (folder / "passwords").write_text("".join(lines))


def password(path: Path) -> None:
    if not path.exists():
        path.write_text(secrets.token_urlsafe(24))
        path.chmod(0o644)


def hashed(text: str) -> str:
    """As mosquitto 2 keeps it: PBKDF2 with SHA-512."""
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", text.encode(), salt, ITERATIONS)
    return f"$7${ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def alternative(name: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"


def new_key(path: Path) -> list[str]:
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(path)]


def openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)  # noqa: S603, S607
    if done.returncode:
        raise SystemExit(f"openssl {arguments[0]}: {done.stderr.strip()}")


if __name__ == "__main__":
    main()
