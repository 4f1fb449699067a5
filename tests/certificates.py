"""Certificates that tests make for themselves, and TLS clients that believe in them."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(key: ec.EllipticCurvePrivateKey, password: bytes | None = None) -> bytes:
    sealed = serialization.BestAvailableEncryption(password) if password else None
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        sealed or serialization.NoEncryption(),
    )


@dataclass
class Issued:
    """A certificate with its chain, and its key, in PEM form."""

    certificate: bytes
    key: bytes
    serial: int
    private: ec.EllipticCurvePrivateKey

    def write(self, certificate: Path, key: Path) -> None:
        certificate.write_bytes(self.certificate)
        key.write_bytes(self.key)

    def encrypted_key(self) -> bytes:
        return _pem(self.private, b"secret")


class Authority:
    """Issues certificates through an intermediate authority, as the public ones do."""

    def __init__(self) -> None:
        root_key = ec.generate_private_key(ec.SECP256R1())
        root = self._sign(_name("root"), _name("root"), root_key, root_key, authority=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._own = self._sign(
            _name("intermediate"), _name("root"), self._key, root_key, authority=True
        )
        self.root = root.public_bytes(serialization.Encoding.PEM)

    def issue(self, *hosts: str) -> Issued:
        """A certificate for `hosts`, or for the loopback addresses and every host below localhost."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = hosts or ("localhost", "*.localhost", "127.0.0.1", "::1")
        made = self._sign(_name(names[0]), _name("intermediate"), key, self._key, names=names)
        chain = b"".join(c.public_bytes(serialization.Encoding.PEM) for c in (made, self._own))
        return Issued(chain, _pem(key), made.serial_number, key)

    def client(self, *, checks_host: bool = True) -> ssl.SSLContext:
        """A client's context that believes in this authority alone."""
        context = ssl.create_default_context(cadata=self.root.decode())
        context.check_hostname = checks_host
        return context

    def _sign(
        self,
        subject: x509.Name,
        issuer: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        signer: ec.EllipticCurvePrivateKey,
        *,
        authority: bool = False,
        names: tuple[str, ...] = (),
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + DAY)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if names:
            alternatives = x509.SubjectAlternativeName(list(map(_general_name, names)))
            builder = builder.add_extension(alternatives, critical=False)
        return builder.sign(signer, hashes.SHA256())


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def serial_of(der: bytes) -> int:
    """The serial number of a certificate as a peer shows it."""
    return x509.load_der_x509_certificate(der).serial_number
