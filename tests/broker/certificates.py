"""Certificates for tests, made by the openssl command.

Knows files; knows no broker.
"""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

DAY = timedelta(days=1)
HERE = "IP:127.0.0.1"


def make(folder: Path) -> Path:
    """Authorities `ca` and `other-ca`; `server` and `client` of the one, `stranger` of the other: .crt and .key.

    Also of `ca`: `expired` since yesterday, `early`, which is good from tomorrow on, and `elsewhere`, a server's of
    another name.
    """
    for authority in ("ca", "other-ca"):
        subject = ["-days", "2", "-subj", f"/CN={authority}"]
        openssl(folder, "req", "-x509", *_key(authority), "-out", f"{authority}.crt", *subject)
    for name in ("server", "client"):
        issue(folder, name)
    issue(folder, "stranger", authority="other-ca")
    issue(folder, "expired", begin=-3 * DAY, end=-DAY)
    issue(folder, "early", begin=DAY, end=3 * DAY)
    issue(folder, "elsewhere", host="DNS:elsewhere.example")
    return folder


def issue(
    folder: Path,
    name: str,
    *,
    authority: str = "ca",
    begin: timedelta = -DAY,
    end: timedelta = DAY,
    host: str = HERE,
) -> None:
    """A certificate `name`.crt with its key, good from `begin` to `end`, both counted from now."""
    openssl(folder, "req", "-new", *_key(name), "-out", f"{name}.csr", "-subj", f"/CN={name}")
    (folder / "ca.cnf").write_text(
        "[ca]\ndefault_ca = one\n"
        f"[one]\ndatabase = {name}.index\nrand_serial = yes\nnew_certs_dir = .\ndefault_md = sha256\n"
        "policy = policy\nx509_extensions = names\n"
        f"[policy]\ncommonName = supplied\n[names]\nsubjectAltName = {host}\n"
    )
    (folder / f"{name}.index").touch()
    signer = ["-cert", f"{authority}.crt", "-keyfile", f"{authority}.key", "-config", "ca.cnf"]
    now = datetime.now(UTC)
    dates = ["-startdate", f"{now + begin:%Y%m%d%H%M%SZ}", "-enddate", f"{now + end:%Y%m%d%H%M%SZ}"]
    openssl(folder, "ca", "-batch", "-notext", *signer, *dates, "-in", f"{name}.csr", "-out", f"{name}.crt")


def openssl(folder: Path, *arguments: str) -> None:
    """Run the command there."""
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def _key(name: str) -> list[str]:
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key"]
