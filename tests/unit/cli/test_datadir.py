"""The data directory: where it is, who holds it."""

import os
from pathlib import Path

import pytest

from cli.datadir import Addresses, DataDir, data_dir, default_root
from cli.problem import Problem

ADDRESSES = Addresses(pid=7, http="127.0.0.1:8080", config="127.0.0.1:50051", dispatch="127.0.0.1:50052")


@pytest.mark.parametrize(
    ("environ", "root"),
    [
        ({"HOME": "/home/ada"}, "/home/ada/.local/share/messagepipe"),
        ({"HOME": "/home/ada", "XDG_DATA_HOME": "/data"}, "/data/messagepipe"),
        ({"HOME": "/home/ada", "XDG_DATA_HOME": "relative"}, "/home/ada/.local/share/messagepipe"),
    ],
)
def test_the_default_follows_xdg(environ: dict[str, str], root: str) -> None:
    """$XDG_DATA_HOME when it is absolute, else ~/.local/share."""
    assert default_root(environ) == Path(root)


def test_the_chosen_one_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative --data-dir is taken from where the command was typed."""
    monkeypatch.chdir(tmp_path)

    assert data_dir("here", {}).root == tmp_path / "here"


def test_it_is_made_closed_to_others(tmp_path: Path) -> None:
    """Nobody else can list a directory that was made here."""
    data = DataDir(root=tmp_path / "new" / "data")
    data.prepare()

    assert data.root.stat().st_mode & 0o077 in (0, 0o011)
    assert data.logs.stat().st_mode & 0o077 == 0


def test_what_can_not_be_made_is_one_clear_line(tmp_path: Path) -> None:
    """A path below a file can not be a directory; the line names it and the flag."""
    (tmp_path / "file").touch()
    with pytest.raises(Problem, match=r"file/data can not be written: not a directory; choose another with --data-dir"):
        DataDir(root=tmp_path / "file" / "data").prepare()


def test_only_one_holds_it(tmp_path: Path) -> None:
    """Who comes second is told who holds it and where that one serves; afterwards it is free again."""
    data = DataDir(root=tmp_path)
    data.prepare()
    with data.held():
        data.announce(ADDRESSES)
        assert data.running() == ADDRESSES
        with pytest.raises(Problem, match=r"process 7, http://127\.0\.0\.1:8080"), data.held():
            pass
    assert data.running() is None
    with data.held():
        pass


def test_a_damaged_lock_file_says_nothing(tmp_path: Path) -> None:
    """What can not be read as addresses counts as nobody running."""
    data = DataDir(root=tmp_path)
    assert data.running() is None
    for text in ("", "{", "[]", '{"pid": 1}'):
        data.lock.write_text(text)
        assert data.running() is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """No write permission is one clear line."""
    tmp_path.chmod(0o500)
    with pytest.raises(Problem, match="permission denied"):
        DataDir(root=tmp_path / "data").prepare()
