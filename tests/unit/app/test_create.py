"""New workspaces and strategies where the place is not for this user."""

from __future__ import annotations

from pathlib import Path

import pytest

from qtsim.app.create import create_strategy, create_workspace
from qtsim.app.workspace import Workspace
from qtsim.errors import QtsimError


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(self: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", deny)
    with pytest.raises(QtsimError, match=r"qtsim\.toml: permission denied; choose a folder that you may read"):
        create_workspace(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(QtsimError, match=r"my_idea\.py: permission denied"):
        create_strategy(Workspace(tmp_path), "my_idea")
