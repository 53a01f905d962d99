"""What all tests share."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples on every run, and no deadline: a slow machine is no bug.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """A file with one of the certificates that this machine trusts."""
    trusted = ssl.create_default_context().get_ca_certs(binary_form=True)
    if not trusted:
        return None
    file = tmp_path_factory.mktemp("trusted") / "one.pem"
    file.write_text(ssl.DER_cert_to_PEM_cert(trusted[0]))
    return file


@pytest.fixture(autouse=True)
def few_are_trusted(one_authority: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vendor's SDK reads all certificates for each client that it makes, which takes longer than most tests
    do; and no test asks anybody beyond this machine."""
    if one_authority is not None:
        monkeypatch.setenv("SSL_CERT_FILE", str(one_authority))
