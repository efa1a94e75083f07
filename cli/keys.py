"""The two secrets of a machine, made once and kept: what signs tokens, what seals credentials. Not their use."""

import base64
import os
import secrets
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from cli.datadir import DataDir
from cli.problem import Problem
from services.chassis.env import SecretText

JWT_SECRET_BYTES = 48  # RFC 7518 §3.2 asks for at least 32
VAULT_KEY_BYTES = 32  # AES-256


def jwt_secret(data: DataDir) -> SecretText:
    """The secret that signs this directory's tokens, made at the first call and readable by its owner only."""
    return _kept(data.jwt_secret, lambda: secrets.token_urlsafe(JWT_SECRET_BYTES))


def vault_keys(data: DataDir) -> SecretText:
    """The key ring that seals this directory's credentials, `id:base64`. Whoever loses it loses the credentials."""
    return _kept(data.vault_keys, lambda: f"k1:{base64.b64encode(secrets.token_bytes(VAULT_KEY_BYTES)).decode()}")


def read_secret(path: Path) -> SecretText:
    """The secret in `path`; Problem when it is missing, empty, unreadable or readable by others."""
    try:
        text = path.read_text(encoding="ascii").strip()
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        raise Problem(f"there is no {path}; `messagepipe up` makes it") from None
    except OSError as error:
        raise Problem(f"{path} can not be read: {os.strerror(error.errno or 0).lower()}") from None
    except ValueError:
        raise Problem(f"{path} holds something else than a secret; restore it from a backup") from None
    if mode & 0o077:
        raise Problem(f"{path} can be read by others (mode {mode:o}); run: chmod 600 {path}")
    if not text:
        raise Problem(f"{path} is empty; restore it from a backup, or delete it to get a new one")
    return SecretText(text)


def _kept(path: Path, make: Callable[[], str]) -> SecretText:
    if not path.exists():
        _write_once(path, make())
    return read_secret(path)


def _write_once(path: Path, text: str) -> None:
    # Written aside, made durable, then linked: a crash leaves a whole secret or none, and the first of two wins.
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(scratch, path)
        except FileExistsError:
            return
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        Path(scratch).unlink(missing_ok=True)
