"""Certificates at work against a broker are in tests/broker/test_tls.py."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamd.config import Tls
from streamd.edge import tls
from streamd.edge.trouble import ConnectError
from tests.broker.certificates import make, openssl


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("certificates"))


def ours(folder: Path, name: str) -> Tls:
    at = [str(folder / f"{name}.{kind}") for kind in ("crt", "key")]
    return Tls(ca_file=str(folder / "ca.crt"), cert_file=at[0], key_file=at[1])


# --- files ---


@pytest.mark.parametrize("key", ["ca_file", "cert_file", "key_file"])
def test_a_file_that_is_not_there_is_named_with_its_key(folder: Path, key: str) -> None:
    good = ours(folder, "client")
    paths = {name: getattr(good, name) for name in ("ca_file", "cert_file", "key_file")} | {key: "/nowhere/it.pem"}
    with pytest.raises(ConnectError, match=f"mqtt.tls.{key} = /nowhere/it.pem can't be read: No such file") as error:
        tls.context(Tls(**paths))
    assert error.value.result == "tls"


def test_a_file_without_a_certificate_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("no certificate")
    with pytest.raises(ConnectError, match=r"mqtt\.tls\.ca_file = .*/ca\.crt holds no certificate in PEM form"):
        tls.context(Tls(ca_file=str(tmp_path / "ca.crt")))


def test_a_key_of_another_certificate_is_named(folder: Path) -> None:
    mixed = Tls(cert_file=str(folder / "client.crt"), key_file=str(folder / "stranger.key"))
    with pytest.raises(ConnectError, match=r"client\.crt can't be used with mqtt\.tls\.key_file = .*stranger\.key"):
        tls.context(mixed)


def test_an_encrypted_key_is_refused_where_openssl_would_ask_at_the_terminal(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "word").write_text("a pass phrase")
    openssl(
        folder, "ec", "-aes256", "-in", "client.key", "-out", f"{tmp_path}/key", "-passout", f"file:{tmp_path}/word"
    )
    with pytest.raises(ConnectError, match="nobody to ask"):
        tls.context(Tls(cert_file=str(folder / "client.crt"), key_file=str(tmp_path / "key")))


def test_nothing_older_than_tls_1_2_is_spoken_and_names_are_checked(folder: Path) -> None:
    context = tls.context(ours(folder, "client"))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED


# --- what is wrong with ours ---


@pytest.mark.parametrize(
    ("name", "fault"), [("client", None), ("stranger", None), ("expired", "expired"), ("early", "not yet valid")]
)
def test_a_certificate_of_ours_that_is_out_of_its_time_is_seen_without_the_broker(
    folder: Path, name: str, fault: str | None
) -> None:
    assert tls.own_fault(ours(folder, name)) == fault


def test_a_certificate_for_clients_alone_has_no_fault(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "use").write_text("extendedKeyUsage = clientAuth")
    signer = ["-CA", "ca.crt", "-CAkey", "ca.key", "-set_serial", "7", "-extfile", f"{tmp_path}/use"]
    openssl(folder, "x509", "-req", "-in", "client.csr", *signer, "-out", f"{tmp_path}/client.crt")
    assert tls.own_fault(Tls(cert_file=f"{tmp_path}/client.crt", key_file=str(folder / "client.key"))) is None


def test_without_a_certificate_or_with_one_that_can_not_be_read_there_is_nothing_to_see(folder: Path) -> None:
    assert tls.own_fault(Tls()) is None
    assert tls.own_fault(Tls(cert_file="/nowhere", key_file="/nowhere")) is None


def test_a_hang_up_without_a_word_is_one_and_no_verdict_on_a_certificate_that_is_good(folder: Path) -> None:
    assert tls.refused(None, ours(folder, "client")).result == "closed"
    assert tls.refused(None, Tls()).result == "closed"
    assert "it is expired" in str(tls.refused(None, ours(folder, "expired")))


# --- the socket ---


@contextmanager
def a_server(folder: Path, **behaviour: bool) -> Iterator[int]:
    """Shakes hands with one client, asks it for a certificate, and ends; gives the port."""

    def serve() -> None:
        sock, _ = listener.accept()
        with sock:
            if behaviour.get("mute"):
                return
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(folder / "server.crt", folder / "server.key")
            context.load_verify_locations(folder / "ca.crt")
            context.verify_mode = ssl.CERT_REQUIRED
            try:
                context.wrap_socket(sock, server_side=True).recv(1)
            except ssl.SSLError:
                sock.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def called(folder: Path, port: int) -> ssl.SSLSocket:
    """A socket to the server, whose handshake is made, by somebody without a certificate."""
    context = tls.context(Tls(ca_file=str(folder / "ca.crt")))
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="127.0.0.1")


def test_what_the_other_end_found_wrong_after_the_handshake_is_remembered(folder: Path) -> None:
    with a_server(folder) as port, called(folder, port) as sock:
        with pytest.raises(ssl.SSLError):
            sock.recv(1)
        error = tls.hung_up(sock, Tls())
        assert error.result == "client_certificate"
        assert "wants a client certificate" in str(error)


def write_until_it_breaks(sock: ssl.SSLSocket) -> None:
    while True:
        sock.send(b"x" * 65_536)


def test_its_last_word_is_read_when_a_write_finds_the_line_dead(folder: Path) -> None:
    with a_server(folder) as port, called(folder, port) as sock:
        with pytest.raises(OSError):  # noqa: PT011 - which one depends on how far the other end has come
            write_until_it_breaks(sock)
        assert tls.hung_up(sock, Tls()).result == "client_certificate"


def test_a_line_that_dies_in_the_handshake_is_told_from_one_that_was_never_there(folder: Path) -> None:
    with a_server(folder, mute=True) as port, pytest.raises(tls.HandshakeError) as error:
        called(folder, port)
    assert tls.handshake_failed(error.value, "127.0.0.1", Tls()).result == "tls"


def test_the_broker_s_certificate_is_named_with_what_is_wrong_and_what_to_do(folder: Path) -> None:
    for code, words in {
        10: ["renew it", "clock"],
        9: ["clock"],
        62: ["mqtt.host = broker.example"],
        20: ["mqtt.tls.ca_file", "/etc/ca.crt"],
        23: ["openssl s_client -connect broker.example"],
    }.items():
        fault = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed (_ssl.c:1)")
        fault.verify_code, fault.verify_message = code, "what OpenSSL says"
        error = tls.handshake_failed(fault, "broker.example", Tls(ca_file="/etc/ca.crt"))
        assert error.result == "server_certificate"
        assert "what OpenSSL says" in str(error)
        assert all(word in error.advice for word in words)
