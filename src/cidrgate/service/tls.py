"""Reads the certificate and the key with which the service speaks TLS, and says which file is wrong."""

from __future__ import annotations

import re
import ssl
import stat
from shlex import quote
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["tls_context"]

_CERTIFICATE = re.compile(r"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----")
_KEY = re.compile(r"-----BEGIN (?:[A-Z]{2,9} )?PRIVATE KEY-----")

_LARGEST = 1 << 20
"""The largest size of a file in bytes. A chain of certificates has some thousands."""


class _EncryptedKeyError(Exception):
    """OpenSSL asks for the pass phrase of a key."""


def tls_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """Return the settings of a server for TLS 1.2 and later.

    Nobody is asked for a pass phrase.

    Args:
        certificate: A file in PEM format with the certificate, then the certificates between it and the root.
        key: A file in PEM format with the certificate's key; None if `certificate` contains it too.

    Raises:
        ValueError: If a file cannot be read or used. The message names the file and says what to do.
    """
    text = _pem(certificate, "certificate")
    key_text, key_file = (text, certificate) if key is None else (_pem(key, "key"), key)
    if key is not None and not _CERTIFICATE.search(text) and _KEY.search(text) and _CERTIFICATE.search(key_text):
        raise ValueError(f"{certificate} contains the key and {key} the certificate: exchange the two files")
    if not _CERTIFICATE.search(text):
        raise ValueError(
            f"{certificate} contains no certificate in PEM format, which begins with -----BEGIN CERTIFICATE-----; "
            "`openssl x509 -in FILE` converts other formats"
        )
    if not _KEY.search(key_text):
        if key is None:
            raise ValueError(f"{certificate} contains no key: name the file of the certificate's key with --tls-key")
        raise ValueError(
            f"{key} contains no key in PEM format, which begins with -----BEGIN PRIVATE KEY-----; "
            "`openssl pkey -in FILE` converts other formats"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, _no_password)
    except _EncryptedKeyError:
        raise ValueError(
            f"the key in {key_file} is encrypted, and nobody can be asked for its pass phrase: "
            f"`openssl pkey -in {quote(str(key_file))} -out NEW` decrypts it to a file that only this user should read"
        ) from None
    except ssl.SSLError as error:
        raise ValueError(_what_is_wrong(error, certificate, key_file)) from error
    except OSError as error:  # changed since it was read
        raise ValueError(f"{certificate} or {key_file} cannot be read: {error.strerror}") from error
    return context


def _pem(file: Path, what: str) -> str:
    """Return the text of a file."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise ValueError(f"{file} is not a file: name the file of the {what}")
        with file.open("rb") as opened:
            content = opened.read(_LARGEST + 1)
    except FileNotFoundError:
        raise ValueError(f"{file} does not exist: name the files of the certificate and of its key") from None
    except OSError as error:
        raise ValueError(
            f"the {what} {file} cannot be read: {error.strerror}; give this user permission to read it"
        ) from None
    if len(content) > _LARGEST:
        raise ValueError(f"{file} is larger than {_LARGEST:,} bytes: it is not the file of a {what}")
    return content.decode("latin-1")


def _no_password() -> NoReturn:
    raise _EncryptedKeyError


def _what_is_wrong(error: ssl.SSLError, certificate: Path, key: Path) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"the key in {key} is not that of the certificate in {certificate}: name the files of one pair"
    try:
        # What OpenSSL says of a file that it cannot decode does not name the file.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(certificate)
    except ssl.SSLError:
        return f"the certificate in {certificate} is damaged: get it again from where it was issued"
    if error.reason is None or error.reason == "PEM_LIB":
        return f"the key in {key} is damaged, or of a kind that OpenSSL does not know: get it again"
    reason = error.reason.lower().replace("_", " ")
    return f"OpenSSL refuses the certificate in {certificate} or the key in {key}: {reason}"
