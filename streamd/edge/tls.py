"""TLS: what the certificate files give, and what is wrong when two ends don't trust each other.

Knows certificates and what OpenSSL says of them; knows nothing of MQTT.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

from streamd.config import Tls
from streamd.edge.trouble import ConnectError

# X509_V_ERR_..., as in openssl-verification-options(1)
EARLY, EXPIRED = 9, 10
ISSUER_UNKNOWN = (2, 18, 19, 20, 21)
OTHER_NAME = (62, 64)

ABOUT_CLOCK = "is this machine's clock right?"


class HandshakeError(OSError):
    """The connection broke in the handshake; the text says how."""


class Socket(ssl.SSLSocket):
    """Closed when the handshake fails, which paho would leave to the collector, one open socket per attempt; and
    remembers what the other end found wrong with us, which in TLS 1.3 comes after the handshake."""

    fault: ssl.SSLError | None = None

    def do_handshake(self, block: bool = False) -> None:
        """As SSLSocket."""
        try:
            super().do_handshake(block)
        except OSError as error:
            self.close()
            if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
                raise
            raise HandshakeError(_short(error)) from error

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """As SSLSocket."""
        try:
            return super().recv(buflen, flags)
        except ssl.SSLError as error:
            self._note(error)
            raise

    def send(self, data: Any, flags: int = 0) -> int:
        """As SSLSocket."""
        try:
            return super().send(data, flags)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError:
            # the other end has hung up, mostly with a last word that nobody would read any more
            with suppress(OSError, ValueError):
                self.recv(1)
            raise

    def _note(self, error: ssl.SSLError) -> None:
        if error.reason is not None and "ALERT" in error.reason:
            self.fault = self.fault or error


def context(tls: Tls) -> ssl.SSLContext:
    """What to speak TLS with; the files are read anew.

    Raises:
        ConnectError: a file can't be read or used; the text names it.
    """
    for key, path in (("ca_file", tls.ca_file), ("cert_file", tls.cert_file), ("key_file", tls.key_file)):
        if path is not None:  # OpenSSL would not say which one
            try:
                Path(path).read_bytes()
            except OSError as error:
                raise _unusable(key, path, f"can't be read: {error.strerror or error}") from error
    try:
        made = ssl.create_default_context(cafile=tls.ca_file)
    except (OSError, ValueError) as error:
        raise _unusable("ca_file", tls.ca_file, f"holds no certificate in PEM form: {_short(error)}") from error
    made.sslsocket_class = Socket
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.cert_file is not None:
        try:
            made.load_cert_chain(tls.cert_file, tls.key_file, password=_nobody_to_ask)
        except (OSError, ValueError) as error:
            what = f"can't be used with mqtt.tls.key_file = {tls.key_file}: {_short(error)}"
            raise _unusable("cert_file", tls.cert_file, what) from error
    return made


def handshake_failed(error: ssl.SSLError | HandshakeError, host: str, tls: Tls) -> ConnectError:
    """What a failed handshake means."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = f"the broker's certificate is not accepted: {error.verify_message or _short(error)}"
        return ConnectError("server_certificate", reason, _about_theirs(error.verify_code, host, tls))
    if isinstance(error, ssl.SSLError):
        if "ALERT" in (error.reason or ""):
            return refused(error, tls)
        return ConnectError(
            "tls", f"no TLS could be agreed on: {_short(error)}", "does that port speak TLS 1.2 or newer?"
        )
    reason = f"the connection broke in the TLS handshake: {error}"
    return ConnectError("tls", reason, "does that port speak TLS? plain MQTT is mostly on 1883, with TLS on 8883")


def hung_up(sock: object, tls: Tls) -> ConnectError:
    """What it means that the other end hung up before it answered, on a socket whose handshake was right for us."""
    return refused(sock.fault if isinstance(sock, Socket) else None, tls)


def refused(alert: ssl.SSLError | None, tls: Tls) -> ConnectError:
    """What it means that the other end refused our handshake with an alert, or without a word."""
    said = (alert.reason or "") if alert is not None else ""
    word = _short(alert) if alert is not None else "it hung up on us"
    if tls.cert_file is None:
        if "CERTIFICATE" in said or "HANDSHAKE_FAILURE" in said:
            advice = "mqtt.tls.cert_file and key_file name it"
            return ConnectError("client_certificate", f"the broker wants a client certificate: {word}", advice)
    elif (own := own_fault(tls)) is not None or "CERTIFICATE" in said or "UNKNOWN_CA" in said:
        if own is not None:
            reason, advice = f"it is {own}", f"a new one, or {ABOUT_CLOCK}"
        else:
            reason, advice = word, "was it signed by the authority that the broker knows (mosquitto: cafile)?"
        reason = f"the broker does not accept our certificate, mqtt.tls.cert_file = {tls.cert_file}: {reason}"
        return ConnectError("client_certificate", reason, advice)
    if alert is None:
        advice = "does it accept our certificate? its log has its reason"
        return ConnectError("closed", "the broker hung up before it answered", advice)
    return ConnectError("tls", f"the broker ended it: {word}")


def own_fault(tls: Tls) -> str | None:
    """What we can see ourselves of why nobody takes our certificate: that it is out of its time; None: nothing.

    Python can't read a certificate, but it can show it to itself.
    """
    if tls.cert_file is None:
        return None
    try:
        there, here = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        here.check_hostname, here.verify_mode = False, ssl.CERT_NONE
        there.verify_mode = ssl.CERT_REQUIRED
        there.load_verify_locations(tls.cert_file)
        there.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # trust in itself is enough: its time is what matters
        for one in (there, here):
            one.load_cert_chain(tls.cert_file, tls.key_file, password=_nobody_to_ask)
    except (OSError, ValueError):
        return None
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (here.wrap_bio(down, up), there.wrap_bio(up, down, server_side=True))
    try:
        for _ in range(4):  # round trips; TLS needs two
            for end in ends:
                with suppress(ssl.SSLWantReadError):
                    end.do_handshake()
    except ssl.SSLCertVerificationError as error:
        return {EARLY: "not yet valid", EXPIRED: "expired"}.get(error.verify_code)
    except ssl.SSLError:
        return None
    return None


def _about_theirs(code: int, host: str, tls: Tls) -> str:
    if code == EXPIRED:
        return f"renew it at the broker; or {ABOUT_CLOCK}"
    if code == EARLY:
        return ABOUT_CLOCK
    if code in OTHER_NAME:
        return f"mqtt.host = {host} has to be a name in it (subjectAltName)"
    if code in ISSUER_UNKNOWN:
        known = (
            "the system's authorities did not; mqtt.tls.ca_file names others" if tls.ca_file is None else tls.ca_file
        )
        return f"mqtt.tls.ca_file has to hold the authority that signed it: {known}"
    return f"look at it: openssl s_client -connect {host}:PORT"


def _unusable(key: str, path: str | None, what: str) -> ConnectError:
    named = f"mqtt.tls.{key} = {path}" if path is not None else "the system's authorities"
    return ConnectError("tls", f"{named} {what}", "PEM files, readable for the user that streamd runs as")


def _nobody_to_ask() -> str:
    """OpenSSL would ask at the terminal, and wait."""
    raise ValueError("the key is encrypted, and a daemon has nobody to ask for its password")


def _short(error: Exception) -> str:
    """OpenSSL's words without its places in the source."""
    text = str(error.args[-1]) if error.args else ""
    return text.partition(" (_ssl.c:")[0].rpartition("] ")[2] or type(error).__name__
