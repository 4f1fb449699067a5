"""The server's certificate: what can be used, what cannot and why, and what happens when files change."""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path

import pytest

from certificates import Authority, Issued
from portico.server.certificates import Certificate, CertificateError, certificate_of


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def issued(authority: Authority) -> Issued:
    return authority.issue()


@pytest.fixture
def files(tmp_path: Path, issued: Issued) -> tuple[Path, Path]:
    found = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.write(*found)
    return found


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str | None) -> ssl.SSLObject:
    """A handshake in memory; returns the client's end."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname=name)
    done = [False, False]
    while not all(done):
        for index, end in enumerate((theirs, ours)):
            try:
                end.do_handshake()
                done[index] = True
            except ssl.SSLWantReadError:
                pass
    return theirs


def shown(certificate: Certificate, authority: Authority) -> bytes | None:
    """The certificate that a new connection gets; its chain is checked as well."""
    end = handshake(certificate.context, authority.client(), "localhost")
    return end.getpeercert(binary_form=True)


def der(issued: Issued) -> bytes:
    first, end = issued.certificate.decode().partition("-----END CERTIFICATE-----\n")[:2]
    return ssl.PEM_cert_to_DER_cert(first + end)


def test_a_chain_is_sent_whole_and_tls_is_what_it_should_be(files, authority, issued):
    certificate = Certificate(*files)
    assert shown(certificate, authority) == der(issued)
    end = handshake(certificate.context, authority.client(), "localhost")
    assert end.version() == "TLSv1.3"
    assert certificate.context.minimum_version is ssl.TLSVersion.TLSv1_2
    ciphers = {c["name"] for c in certificate.context.get_ciphers()}
    assert ciphers
    assert all(c.startswith(("TLS_", "ECDHE-")) and "SHA1" not in c for c in ciphers)
    assert not any(c.endswith("-SHA") or "CBC" in c for c in ciphers)


def test_one_file_may_hold_both(tmp_path, authority, issued):
    both = tmp_path / "both.pem"
    both.write_bytes(issued.key + issued.certificate)
    assert shown(Certificate(both, both), authority) == der(issued)


def test_both_settings_or_none(files):
    assert certificate_of(None, None) is None
    with pytest.raises(CertificateError, match="--tls-cert is given without --tls-key"):
        certificate_of(files[0], None)
    with pytest.raises(CertificateError, match="--tls-key is given without --tls-cert"):
        certificate_of(None, files[1])


def _missing(cert: Path, key: Path, authority: Authority) -> str:
    key.unlink()
    return "there is no file .*key.pem: give the PEM file of the private key"


def _folder(cert: Path, key: Path, authority: Authority) -> str:
    cert.unlink()
    cert.mkdir()
    return "cannot read .*cert.pem: Is a directory"


def _others_key(cert: Path, key: Path, authority: Authority) -> str:
    key.write_bytes(authority.issue().key)
    return "key.pem does not belong to the first certificate in .*cert.pem"


def _chain_first(cert: Path, key: Path, authority: Authority) -> str:
    parts = cert.read_text().split("-----END CERTIFICATE-----\n")
    cert.write_text("-----END CERTIFICATE-----\n".join([parts[1], parts[0], ""]))
    return "the server's own certificate before its issuers'"


def _swapped(cert: Path, key: Path, authority: Authority) -> str:
    os.rename(cert, cert.with_name("aside"))
    os.rename(key, cert)
    os.rename(cert.with_name("aside"), key)
    return "cert.pem holds no certificate in PEM form"


def _half(cert: Path, key: Path, authority: Authority) -> str:
    cert.write_bytes(cert.read_bytes()[:300])
    return "no usable certificate and key|holds no certificate"


def _empty(cert: Path, key: Path, authority: Authority) -> str:
    key.write_bytes(b"")
    return "key.pem holds no private key in PEM form"


def _garbage(cert: Path, key: Path, authority: Authority) -> str:
    key.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    return "no usable certificate and key"


def _encrypted(cert: Path, key: Path, authority: Authority) -> str:
    issued = authority.issue()
    cert.write_bytes(issued.certificate)
    key.write_bytes(issued.encrypted_key())
    return "is encrypted: write it without a passphrase, `openssl pkey -in"


FAULTS = [
    _missing, _folder, _others_key, _chain_first, _swapped, _half, _empty, _garbage, _encrypted,
]  # fmt: skip


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda spoil: spoil.__name__.strip("_"))
def test_what_cannot_be_used_is_refused_at_start_and_changes_nothing_later(
    spoil, files, authority, issued, caplog
):
    certificate = Certificate(*files)
    message = spoil(*files, authority)
    with pytest.raises(CertificateError, match=message):
        Certificate(*files)
    for _ in range(4):
        certificate.look()
        assert shown(certificate, authority) == der(issued)
    (record,) = (
        caplog.records
    )  # once, and not at the first look, which may have met a file half written
    assert record.levelname == "ERROR"
    assert "stays" in record.getMessage()
    # Mended, it is taken.
    renewed = authority.issue()
    if files[0].is_dir():
        files[0].rmdir()
    renewed.write(*files)
    certificate.look()
    assert shown(certificate, authority) == der(renewed)
    _, record = caplog.records  # and whoever was told that it could not be is told
    assert record.levelname == "WARNING"
    assert "new connections use the certificate" in record.getMessage()
    authority.issue().write(*files)
    certificate.look()
    assert len(caplog.records) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_key_that_may_not_be_read_is_said(files):
    files[1].chmod(0)
    with pytest.raises(CertificateError, match="cannot be read by the server's user"):
        Certificate(*files)


def test_a_renewal_met_half_way_is_no_mistake(files, authority, caplog):
    certificate = Certificate(*files)
    renewed = authority.issue()
    files[0].write_bytes(renewed.certificate)
    certificate.look()
    files[1].write_bytes(renewed.key)
    certificate.look()
    assert shown(certificate, authority) == der(renewed)
    assert caplog.records == []


def test_files_may_be_links_that_are_turned(tmp_path, authority, issued):
    """As certbot's are, and the folders of mounted secrets."""
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    renewed = authority.issue()
    issued.write(tmp_path / "1/cert", tmp_path / "1/key")
    renewed.write(tmp_path / "2/cert", tmp_path / "2/key")
    for path in tmp_path.glob("?/*"):
        os.utime(path, (1, 1))  # nor does it take a new time
    (tmp_path / "live").symlink_to("1")
    certificate = Certificate(tmp_path / "live/cert", tmp_path / "live/key")
    (tmp_path / "turned").symlink_to("2")
    (tmp_path / "turned").replace(tmp_path / "live")
    certificate.look()
    assert shown(certificate, authority) == der(renewed)


def test_looks_go_on_until_cancelled(files, authority):
    async def test() -> None:
        certificate = Certificate(*files)
        following = asyncio.create_task(certificate.follow(0.01))
        for renewed in (authority.issue(), authority.issue()):
            renewed.write(*files)
            async with asyncio.timeout(10):
                while shown(certificate, authority) != der(renewed):
                    await asyncio.sleep(0.01)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    asyncio.run(test())
