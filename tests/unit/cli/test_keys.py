"""The two secrets of a machine."""

import base64
from pathlib import Path

import pytest

from cli.datadir import DataDir
from cli.keys import jwt_secret, read_secret, vault_keys
from cli.problem import Problem


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    """An empty data directory."""
    found = DataDir(root=tmp_path)
    found.prepare()
    return found


def test_they_are_made_once(data: DataDir) -> None:
    """The second call finds what the first one made."""
    assert jwt_secret(data) == jwt_secret(data)
    assert vault_keys(data) == vault_keys(data)


def test_they_are_strong_and_for_their_owner_alone(data: DataDir) -> None:
    """32 bytes or more for tokens, exactly 32 for the vault, and mode 0600."""
    identity, _, key = vault_keys(data).reveal().partition(":")

    assert len(jwt_secret(data).reveal()) >= 32
    assert (identity, len(base64.b64decode(key))) == ("k1", 32)
    assert [path.stat().st_mode & 0o777 for path in (data.jwt_secret, data.vault_keys)] == [0o600, 0o600]
    assert sorted(path.name for path in data.root.iterdir() if path.is_file()) == [
        "jwt.secret",
        "up.lock",
        "vault.keys",
    ]


def test_two_machines_have_different_ones(data: DataDir, tmp_path: Path) -> None:
    """Nothing about them is fixed."""
    other = DataDir(root=tmp_path / "other")
    other.prepare()

    assert jwt_secret(data) != jwt_secret(other)
    assert vault_keys(data) != vault_keys(other)


def test_one_that_others_can_read_is_refused(data: DataDir) -> None:
    """A secret that was laid open is not used, and the line says what to run."""
    jwt_secret(data)
    data.jwt_secret.chmod(0o644)
    with pytest.raises(Problem, match=r"mode 644\); run: chmod 600"):
        jwt_secret(data)


def test_an_empty_or_missing_one_is_refused(data: DataDir) -> None:
    """A file without a secret is never taken for one."""
    with pytest.raises(Problem, match="messagepipe up"):
        read_secret(data.jwt_secret)
    data.jwt_secret.touch(mode=0o600)
    with pytest.raises(Problem, match="is empty"):
        read_secret(data.jwt_secret)
