"""Controls: the same runs with a safeguard taken away must be seen to fail, or their being clean proves nothing.

A safeguard is taken away in a child process of the test's own, by a few lines before its main(); the code that is
shipped has no switch for it.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from tests.acceptance.processes import COMMAND
from tests.chaos.at_points import pause_at
from tests.chaos.database import Database, database
from tests.chaos.load import Load, Mix
from tests.chaos.oracle import look
from tests.chaos.scenarios import Options, Report, conclude
from tests.chaos.site import LEASE_SECONDS, open_site

Run = Callable[[Options, Sequence[str]], Awaitable[Report]]

_MAIN = "\nimport sys\nfrom cli.main import main\nsys.exit(main(sys.argv[1:]))\n"

NO_FENCE = """
from services.dispatch import ledger
asked = ledger._HOLD
ledger._HOLD = asked.replace(" AND q.epoch = t.epoch", "").replace("q.epoch, now()", "t.epoch, now()")
assert asked != ledger._HOLD and "q.epoch" not in ledger._HOLD
"""
NO_LEASE_CHECK = """
from services.dispatch import ledger, worker
asked = ledger._HOLD
ledger._HOLD = asked.replace("WHERE NOT t.opens OR q.due_at > clock_timestamp()", "")
assert asked != ledger._HOLD
worker.Worker.lease_left = lambda self, message_id, epoch: 3600.0
"""
NO_SYNC = """
import asyncpg
make = asyncpg.create_pool
def unsafe(*arguments, server_settings=None, **more):
    return make(*arguments, server_settings={**(server_settings or {}), "synchronous_commit": "off"}, **more)
asyncpg.create_pool = unsafe
"""


def without(safeguard: str) -> list[str]:
    """The command of a dispatcher that lacks a safeguard."""
    return [sys.executable, "-c", safeguard + _MAIN]


async def fence(options: Options) -> Report:
    """Control: a dispatcher that is not fenced settles what others hold, and the oracle sees it."""
    return await _compare("control_fence", options, _settles_late, NO_FENCE)


async def lease_check(options: Options) -> Report:
    """Control: a dispatcher that does not look at its lease calls providers after it, and the oracle sees it."""
    return await _compare("control_lease_check", options, _calls_late, NO_LEASE_CHECK)


async def synchronous_commit(options: Options) -> Report:
    """Control: without synchronous_commit a power cut loses what was acknowledged, and the oracle sees it."""
    return await _compare("control_synchronous_commit", options, _power_cut, NO_SYNC)


async def _compare(name: str, options: Options, run: Run, safeguard: str) -> Report:
    """The run as it is must be clean; without its safeguard it must not be."""
    good = await run(replace(options, folder=options.folder / "with"), COMMAND)
    bad = await run(replace(options, folder=options.folder / "without"), without(safeguard))
    report = replace(good, scenario=name, failures=[f"with the safeguard: {each}" for each in good.failures])
    report.measured = {**good.measured, "seen without the safeguard": "; ".join(bad.failures)}
    report.check(bad.failures, "without the safeguard the run was clean: it proves nothing")
    return report


async def _settles_late(options: Options, command: Sequence[str]) -> Report:
    """A dispatcher stands still before it begins attempts, and wakes up while another one makes them."""
    report = Report(scenario="settles late", seed=options.seed, seconds=options.seconds)
    async with open_site(options.folder, seed=options.seed, command=command, timeout_seconds=5.0) as site:
        slow = {"words": {"accept": 1}, "latency": 2.0}
        await site.behave(a=slow, b=slow)
        load = Load(site=site, seed=options.seed, mix=Mix(at_most_once=0.5, tries=0))
        for count in (1, 4, 8):
            report.check(
                await pause_at(site, load, "attempt.before_record", count, seconds=LEASE_SECONDS * 1.35),
                "it was not paused",
            )
        return await conclude(report, site, load)


async def _calls_late(options: Options, command: Sequence[str]) -> Report:
    """A dispatcher stands still between the record of an attempt and its call, past its lease."""
    report = Report(scenario="calls late", seed=options.seed, seconds=options.seconds)
    async with open_site(options.folder, seed=options.seed, command=command, timeout_seconds=5.0) as site:
        load = Load(site=site, seed=options.seed, mix=Mix(at_most_once=0.5, tries=0))
        for _ in range(2):
            report.check(await pause_at(site, load, "attempt.recorded", 1, only=True), "it was not paused")
        await conclude(report, site, load)
        late = (await look(site)).late
        report.check(not late, f"{late} calls reached a provider after their lease")
        return report


async def _power_cut(options: Options, command: Sequence[str]) -> Report:
    """Every process of PostgreSQL is killed at once, with whatever it had only in its memory."""
    report = Report(scenario="power cut", seed=options.seed, seconds=options.seconds)
    # Nothing writes the log to the disk but commits that ask for it.
    lazy = {"wal_writer_delay": "10s", "wal_writer_flush_after": "1GB", "checkpoint_timeout": "1h"}
    async with database(lazy) as base, open_site(options.folder, seed=options.seed, command=command, on=base) as site:
        load = Load(site=site, seed=options.seed, mix=Mix())
        for _ in range(2):
            loading = asyncio.create_task(load.run(rate=100, seconds=2.5))
            await asyncio.sleep(2)
            await _cut(base)
            await loading
        return await conclude(report, site, load)


async def _cut(base: Database) -> None:
    await base.power_cut()
    await base.start()
