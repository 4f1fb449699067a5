"""The server's TLS certificate: read at start, and again whenever its files change."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

logger = logging.getLogger(__name__)

INTERVAL = 1.0  # seconds between looks at the files
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: authenticated, and with keys that a later theft of the server's does not tell. 1.3 has no others."""


class CertificateError(Exception):
    """The certificate cannot be used; the message says what to do."""


def certificate_of(certificate: Path | None, key: Path | None) -> Certificate | None:
    """What the two settings name; None where there are none. Raises `CertificateError`."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        given, missing = ("cert", "key") if key is None else ("key", "cert")
        raise CertificateError(
            f"--tls-{given} is given without --tls-{missing}: TLS needs both files"
        )
    return Certificate(certificate, key)


class Certificate:
    """A certificate with its chain, and its key, in two PEM files that may be replaced at any time.

    Connections have what was there when they began. Raises `CertificateError` for files that cannot be used;
    later ones of that sort are logged, and those in use stay so.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key
        self._loaded = self._read()
        self.context = self._current = self._load()
        """What a listener is made with."""
        self.context.sni_callback = self._begun
        self._problem = ""
        self._told = False

    async def follow(self, interval: float = INTERVAL) -> None:
        """`look` every `interval` seconds, until cancelled."""
        while True:
            await asyncio.sleep(interval)
            try:
                await asyncio.to_thread(self.look)
            except Exception:  # of a kind that nobody thought of: no reason to look never again
                logger.exception("the certificate's files could not be looked at")

    def look(self) -> None:
        """Have new connections use what the files hold now, if that is of use."""
        try:
            files = self._read()
            if files == self._loaded:
                self._problem = ""
                return
            self._current = self._load()
        except CertificateError as error:
            self._tell(str(error))
            return
        self._loaded, self._problem = files, ""
        # Who was told that it cannot be used wants to know when it can.
        level, self._told = logging.WARNING if self._told else logging.INFO, False
        logger.log(
            level, "new connections use the certificate that is in %s now", self._certificate
        )

    def _tell(self, problem: str) -> None:
        # Files are written one after the other: only what is still so at the next look is a mistake.
        if problem != self._problem:
            self._problem, self._told = problem, False
        elif not self._told:
            self._told = True
            logger.error(
                "the certificate in use stays, since the new one is not usable: %s", problem
            )

    def _begun(
        self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext
    ) -> None:
        connection.context = self._current

    def _read(self) -> tuple[bytes, bytes]:
        return (
            _pem(self._certificate, b"CERTIFICATE", "certificate"),
            _pem(self._key, b"PRIVATE KEY", "private key"),
        )

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_ciphers(CIPHERS)
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._certificate, self._key, self._no_password)
        except ssl.SSLError as error:
            raise CertificateError(self._reason(error)) from None
        except OSError as error:
            raise CertificateError(
                f"cannot read {error.filename or self._key}: {error.strerror}"
            ) from None
        return context

    def _no_password(self) -> str:
        raise CertificateError(
            f"the key in {self._key} is encrypted: write it without a passphrase, "
            f"`openssl pkey -in {self._key} -out …`, to a file that only the server's user can read"
        )

    def _reason(self, error: ssl.SSLError) -> str:
        if error.reason == "KEY_VALUES_MISMATCH":
            return (
                f"the key in {self._key} does not belong to the first certificate in {self._certificate}: "
                "give the two that were issued together, the server's own certificate before its issuers'"
            )
        reason = (error.reason or str(error)).lower().replace("_", " ")
        return f"{self._certificate} and {self._key} are no usable certificate and key: {reason}"


def _pem(path: Path, kind: bytes, title: str) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise CertificateError(
            f"there is no file {path}: give the PEM file of the {title}"
        ) from None
    except PermissionError:
        raise CertificateError(
            f"{path} cannot be read by the server's user: change its owner or mode"
        ) from None
    except OSError as error:
        raise CertificateError(f"cannot read {path}: {error.strerror}") from None
    if kind + b"-----" not in content:
        raise CertificateError(f"{path} holds no {title} in PEM form")
    return content
