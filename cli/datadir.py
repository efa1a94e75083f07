"""The data directory: what `up` keeps on this machine and who holds it. Not the database: that is one folder inside."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from cli.problem import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where a running `up` serves: the process that holds the directory, and `host:port` of each service."""

    pid: int
    http: str
    config: str
    dispatch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataDir:
    """The places inside one data directory; none of them need exist."""

    root: Path

    @property
    def postgres(self) -> Path:
        """PostgreSQL's own folder, its socket included."""
        return self.root / "postgres"

    @property
    def jwt_secret(self) -> Path:
        """The file of the secret that signs tokens."""
        return self.root / "jwt.secret"

    @property
    def vault_keys(self) -> Path:
        """The file of the key ring that seals credentials."""
        return self.root / "vault.keys"

    @property
    def logs(self) -> Path:
        """The folder of the processes' logs."""
        return self.root / "logs"

    @property
    def lock(self) -> Path:
        """Held by a running `up`; its text is the `Addresses` of that one."""
        return self.root / "up.lock"

    def prepare(self) -> None:
        """The directory exists and can be written; Problem otherwise. Nobody else can list it."""
        try:
            if not self.root.exists():
                self.root.mkdir(parents=True)
                # PostgreSQL can not run as root: its own user has to get through to its folder, and no further.
                self.root.chmod(0o711 if os.geteuid() == 0 else 0o700)
            self.logs.mkdir(mode=0o700, exist_ok=True)
            self.lock.touch(mode=0o600)
        except OSError as error:
            raise Problem(
                f"the data directory {self.root} can not be written: {_why(error)}; choose another with --data-dir DIR"
            ) from None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within the block no other `up` uses the directory; Problem when one does already."""
        with self.lock.open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                other = self.running()
                whose = f" (process {other.pid}, http://{other.http})" if other else ""
                raise Problem(
                    f"another messagepipe uses {self.root}{whose}; stop it or choose another with --data-dir DIR"
                ) from None
            try:
                yield
            finally:
                file.truncate(0)

    def announce(self, addresses: Addresses) -> None:
        """Other commands find the running services by this; call it only while the directory is held."""
        self.lock.write_text(json.dumps(asdict(addresses)))

    def running(self) -> Addresses | None:
        """Where the `up` that holds the directory serves; None when none does or it is still starting."""
        try:
            return Addresses(**json.loads(self.lock.read_text()))
        except (OSError, ValueError, TypeError):
            return None


def default_root(environ: Mapping[str, str]) -> Path:
    """`messagepipe` below $XDG_DATA_HOME, else below ~/.local/share (XDG Base Directory Specification §3)."""
    base = environ.get("XDG_DATA_HOME", "")
    # The specification: a path that is not absolute is to be ignored.
    return (
        Path(base) if base.startswith("/") else Path(environ.get("HOME") or "/") / ".local" / "share"
    ) / "messagepipe"


def data_dir(chosen: str | None, environ: Mapping[str, str]) -> DataDir:
    """The data directory of --data-dir, else the default one, as an absolute path."""
    return DataDir(root=Path(chosen).expanduser().resolve() if chosen else default_root(environ))


def _why(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)
