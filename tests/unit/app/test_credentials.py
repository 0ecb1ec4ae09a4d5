from __future__ import annotations

from pathlib import Path

import pytest

from qtsim.app.credentials import read_credentials
from qtsim.errors import UsageError


def test_none_is_none() -> None:
    assert not read_credentials({}).are_there


def test_from_the_environment_and_from_files(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("s3cret\n", encoding="utf-8")
    file.chmod(0o600)
    found = read_credentials({"BINANCE_API_KEY": "k", "BINANCE_API_SECRET_FILE": str(file)})
    assert (found.key, found.secret, found.are_there) == ("k", "s3cret", True)
    assert "s3cret" not in repr(found)


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("s3cret", encoding="utf-8")
    file.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600") as caught:
        read_credentials({"BINANCE_API_KEY": "k", "BINANCE_API_SECRET_FILE": str(file)})
    assert "s3cret" not in str(caught.value)


def test_half_of_them_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="BINANCE_API_SECRET is not"):
        read_credentials({"BINANCE_API_KEY": "k"})
    with pytest.raises(UsageError, match=r"BINANCE_API_KEY_FILE: .*cannot be read"):
        read_credentials({"BINANCE_API_KEY_FILE": str(tmp_path / "none")})
