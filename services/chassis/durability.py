"""Whether a PostgreSQL keeps what it has acknowledged: looked at before a service serves. It changes no setting.

What each of them loses is in docs/durability.md; the settings themselves in the manual, §19.5.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import asyncpg

from services.chassis.database import DatabaseUnreachable, Dsn, connect, parse_dsn
from services.chassis.log import get_logger

ALLOW = "MESSAGEPIPE_ALLOW_UNSAFE_DURABILITY"

# `setting` holds in this session, which is made like every one of ours; `reset_val` is what the server, the database
# and the role had asked for.
_SETTINGS = """
SELECT name, setting, reset_val FROM pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'synchronous_standby_names')
"""
_log = get_logger()


class UnsafeDatabase(Exception):
    """The database may forget what it acknowledged; the message is one line: settings, values, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weakness:
    """A setting under which the server may forget what it has acknowledged."""

    name: str
    value: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.name}={self.value}{self.where}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Durability:
    """What a server promises our sessions: its `weaknesses` (none is good), and which `standbys` a commit waits for
    (synchronous_standby_names; empty: none, so that its own disk is all there is).
    """

    weaknesses: tuple[Weakness, ...]
    standbys: str


async def check_durability(dsn: Dsn) -> Durability:
    """What the server promises our sessions. Raises the driver's errors."""
    connection = await connect(dsn)
    try:
        rows = await connection.fetch(_SETTINGS)
    finally:
        with suppress(OSError, asyncpg.InterfaceError):
            await connection.close()
    ours = {row["name"]: row["setting"] for row in rows}
    found = weaknesses(ours=ours, given={row["name"]: row["reset_val"] for row in rows})
    return Durability(weaknesses=tuple(found), standbys=ours.get("synchronous_standby_names", "").strip())


async def require_durability(dsn: Dsn, *, allow_unsafe: bool) -> None:
    """Returns when the server keeps what it acknowledges, or (`allow_unsafe`) with a warning in the log.

    Raises UnsafeDatabase, or DatabaseUnreachable when it can not be asked.
    """
    shown = parse_dsn(dsn).shown
    try:
        found = (await check_durability(dsn)).weaknesses
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise DatabaseUnreachable(f"{shown}: {' '.join(str(error).split()) or 'no answer'}") from error
    if not found:
        return
    if not allow_unsafe:
        raise UnsafeDatabase(refusal(shown, found))
    _log.warning("unsafe_durability_allowed", settings=[str(each) for each in found], allowed_by=ALLOW)


def weaknesses(*, ours: Mapping[str, str], given: Mapping[str, str]) -> list[Weakness]:
    """Which settings break "accepted means durable": `ours` hold in our sessions, `given` before we pinned ours."""
    found = [
        Weakness(name=name, value="off") for name in ("fsync", "full_page_writes") if ours.get(name, "on") == "off"
    ]
    own, asked = ours.get("synchronous_commit", "on"), given.get("synchronous_commit", "on")
    if own not in {"on", "remote_apply"}:  # something between us and the server dropped our setting
        found.append(Weakness(name="synchronous_commit", value=own, where=" in our own sessions"))
    # With standbys configured, `local` acknowledges before any of them has it.
    elif asked == "off" or (asked == "local" and ours.get("synchronous_standby_names")):
        found.append(Weakness(name="synchronous_commit", value=asked, where=" by the server, database or role"))
    return found


def refusal(shown: str, found: Sequence[Weakness]) -> str:
    """What is wrong with the database and what to do, in one line."""
    settings = ", ".join(map(str, found))
    names = " and ".join(each.name for each in found)
    return (
        f"the database {shown} may lose messages that it acknowledged: {settings}; set {names} to on "
        f"(ALTER SYSTEM, or ALTER DATABASE or ROLE where it was set there), or accept the loss with {ALLOW}=true"
    )
