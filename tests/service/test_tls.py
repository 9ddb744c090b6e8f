"""A certificate or a key that cannot be used is one line that names the file, before the service starts."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from cidrgate.service.server import Port
from cidrgate.service.tls import tls_context
from tests.cli.conftest import Cidrgate, cidrgate, no_database

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["cidrgate", "no_database"]


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with two pairs, and the files that people take for one of a pair."""
    folder = tmp_path_factory.mktemp("tls")
    for one in ("1", "2"):
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        names = ["-keyout", f"{folder}/k{one}.pem", "-out", f"{folder}/c{one}.pem"]
        _openssl("req", "-x509", *kind, "-nodes", "-days", "1", "-subj", f"/CN=h{one}", *names)
    certificate, key = (folder / "c1.pem").read_text(), (folder / "k1.pem").read_text()
    _openssl("pkcs8", "-topk8", "-in", f"{folder}/k1.pem", "-passout", "pass:x", "-out", f"{folder}/encrypted.pem")
    _openssl("ec", "-in", f"{folder}/k1.pem", "-aes128", "-passout", "pass:x", "-out", f"{folder}/old-encrypted.pem")
    _openssl("x509", "-in", f"{folder}/c1.pem", "-outform", "der", "-out", f"{folder}/c1.der")
    _openssl("pkey", "-in", f"{folder}/k1.pem", "-outform", "der", "-out", f"{folder}/k1.der")
    _openssl("pkey", "-in", f"{folder}/k1.pem", "-pubout", "-out", f"{folder}/public.pem")
    (folder / "both.pem").write_text(certificate + key)
    (folder / "chain.pem").write_text(certificate + (folder / "c2.pem").read_text())
    (folder / "cut-c1.pem").write_text(certificate[:200])
    (folder / "cut-k1.pem").write_text(key[:100])
    (folder / "empty.pem").touch()
    (folder / "large.pem").write_bytes(b"x" * (2 << 20))
    return folder


@pytest.mark.parametrize(("certificate", "key"), [("c1.pem", "k1.pem"), ("both.pem", None), ("chain.pem", "k1.pem")])
def test_a_pair_is_used(certificate: str, key: str | None, files: Path) -> None:
    context = tls_context(files / certificate, None if key is None else files / key)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert Port(tls=context).url(None) == "https://localhost"


WRONG: list[tuple[str, str | None, str]] = [
    ("c1.pem", "k2.pem", "the key in k2.pem is not that of the certificate in c1.pem"),
    ("k1.pem", "c1.pem", "k1.pem contains the key and c1.pem the certificate: exchange"),
    ("c1.pem", None, "c1.pem contains no key: name the file of the certificate's key with --tls-key"),
    ("c1.pem", "c2.pem", "c2.pem contains no key in PEM format"),
    ("k1.pem", "k1.pem", "k1.pem contains no certificate in PEM format"),
    ("c1.pem", "encrypted.pem", "the key in encrypted.pem is encrypted"),
    ("c1.pem", "old-encrypted.pem", "the key in old-encrypted.pem is encrypted"),
    ("c1.der", "k1.pem", "c1.der contains no certificate in PEM format"),
    ("c1.pem", "k1.der", "k1.der contains no key in PEM format"),
    ("c1.pem", "public.pem", "public.pem contains no key in PEM format"),
    ("cut-c1.pem", "k1.pem", "the certificate in cut-c1.pem is damaged"),
    ("c1.pem", "cut-k1.pem", "the key in cut-k1.pem is damaged"),
    ("empty.pem", "k1.pem", "empty.pem contains no certificate"),
    ("c1.pem", "empty.pem", "empty.pem contains no key"),
    ("large.pem", "k1.pem", "large.pem is larger than"),
    ("missing.pem", "k1.pem", "missing.pem does not exist"),
    ("c1.pem", "missing.pem", "missing.pem does not exist"),
    (".", "k1.pem", ". is not a file"),
    ("c1.pem", "/dev/null", "/dev/null is not a file"),
]
"""A certificate, a key, and what is said of them."""


@pytest.mark.parametrize(("certificate", "key", "said"), WRONG)
def test_files_that_cannot_be_used_are_one_line(
    certificate: str,
    key: str | None,
    said: str,
    files: Path,
    cidrgate: Cidrgate,
    no_database: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(files)
    typed = ["--tls-certificate", certificate, *([] if key is None else ["--tls-key", key])]
    answer = cidrgate("serve", "--port", "0", *typed, status=2, environment={"COLUMNS": "1000"})
    assert answer.err.startswith(f"error: {said}")
    assert answer.err.count("\n") == 1
    variables = {"CIDRGATE_SERVE_TLS_CERTIFICATE": certificate}
    variables |= {} if key is None else {"CIDRGATE_SERVE_TLS_KEY": key}
    error = cidrgate("serve", "--port", "0", "--json", status=2, environment=variables).error
    assert error["code"] == "command"
    assert error["detail"].startswith(said)
    assert not cidrgate.database.exists()


@pytest.mark.parametrize("variables", [{}, {"CIDRGATE_SERVE_TLS_KEY": "k1.pem"}])
def test_a_key_alone_is_an_error(variables: Mapping[str, str], cidrgate: Cidrgate, no_database: None) -> None:
    typed = [] if variables else ["--tls-key", "k1.pem"]
    assert "--tls-key needs --tls-certificate" in cidrgate("serve", *typed, status=2, environment=variables).err


def test_nobody_is_asked_for_a_pass_phrase(files: Path, tmp_path: Path) -> None:
    """Neither on a standard input that nobody types at, nor on one that stays open."""
    command = [sys.executable, "-m", "cidrgate", "-d", f"{tmp_path}/lists.db", "serve", "--port", "0"]
    command += ["--tls-certificate", f"{files}/c1.pem", "--tls-key", f"{files}/encrypted.pem"]
    reading, writing = os.pipe()
    try:
        for stdin in (subprocess.DEVNULL, reading):
            done = subprocess.run(command, stdin=stdin, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 2
            assert " is encrypted, and nobody can be asked" in done.stderr
            assert "Traceback" not in done.stderr
    finally:
        os.close(reading)
        os.close(writing)


def test_a_file_that_this_user_may_not_read_is_named(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = tmp_path / "locked.pem"
    locked.touch(0o000)
    opened: Any = Path.open

    def refused(path: Path, *arguments: str) -> object:  # root may read everything
        if path == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments)

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(ValueError, match=r"the key .*locked\.pem cannot be read: Permission denied; give this user"):
        tls_context(files / "c1.pem", locked)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_files_contain_the_error_names_one(data: st.DataObject, files: Path, tmp_path: Path) -> None:
    """Pairs that were cut off, or of which a byte was changed."""
    named = {}
    for name in ("c1.pem", "k1.pem"):
        content = bytearray((files / name).read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        how = data.draw(st.sampled_from(["whole", "cut", "changed"]))
        if how == "cut":
            del content[place:]
        elif how == "changed":
            content[place] = data.draw(st.integers(0, 255))
        named[name] = tmp_path / name
        named[name].write_bytes(content)
    try:
        tls_context(*named.values())
    except ValueError as error:
        assert any(str(path) in str(error) for path in named.values())  # noqa: PT017 - a pair may be usable
