"""Runs of a whole site under load and harm, each ending in the oracle's verdict. Which, how long and how hard:
__main__.py for people, test_*.py for pytest.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.load import Load, Mix
from tests.chaos.nemesis import (
    Harm,
    Nemesis,
    kill_any,
    pause_dispatcher,
    spoil_callers,
    spoil_database,
    spoil_providers,
    stop_postgres,
)
from tests.chaos.oracle import Verdict, judge, look
from tests.chaos.site import Site, open_site

REST_SECONDS = 90.0
QUIET_SECONDS = 1.5
ROUGH: Mapping[str, object] = {
    "words": {"accept": 80, "refuse": 10, "drop": 4, "throttle": 3, "swallow": 3},
    "latency": 0.05,
}
EVERYTHING = Mix(failover_on_receipt=0.3, receipts=0.2, cancels=0.05, renames_per_second=2, keyed=0.2)

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a run is wanted: its folder, length, rate and seed."""

    folder: Path
    seconds: float
    seed: int
    rate: float = 300.0
    say: Say = print


@dataclass(kw_only=True)
class Report:
    """What a run showed; `failures` is empty when all that it promises held."""

    scenario: str
    seed: int
    seconds: float
    verdict: Verdict = field(default_factory=Verdict)
    fired: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def check(self, holds: object, failure: str) -> None:
        """Note a failure unless it holds."""
        if not holds:
            self.failures.append(failure)

    def table(self) -> str:
        """For people."""
        lines = [f"{self.scenario}, seed {self.seed}, {self.seconds:.0f} s", self.verdict.table()]
        for name in ("fired", "refused", "measured"):
            lines += [f"  {name} {key}: {value}" for key, value in sorted(getattr(self, name).items())]
        lines += [f"  FAILED: {failure}" for failure in self.failures] or ["  clean"]
        return "\n".join(lines)


async def at_rest(site: Site, seconds: float = REST_SECONDS) -> float:
    """Seconds until nothing is left to do for any message, and stays so for a while; not longer than `seconds`.

    A receipt may bring a message back that had ended, so an empty queue must be seen again and again.
    """
    began = quiet_since = time.monotonic()
    while time.monotonic() - began < seconds and time.monotonic() - quiet_since < QUIET_SECONDS:
        (row,) = await site.query(_WORK)
        if row["work"]:
            quiet_since = time.monotonic()
        await asyncio.sleep(0.1)
    return max(quiet_since - began, 0.0)


_WORK = """
SELECT EXISTS (SELECT FROM dispatch.queue) OR EXISTS (
    SELECT FROM dispatch.messages m LEFT JOIN dispatch.completions c ON c.message_id = m.id WHERE c.message_id IS NULL
) AS work
"""

_ATTEMPTS = "SELECT count(*) AS attempts, count(DISTINCT message_id) AS messages FROM dispatch.attempts"


async def conclude(report: Report, site: Site, load: Load) -> Report:
    """Wait for rest, ask the oracle, and hold what every run promises."""
    report.measured["seconds to rest"] = round(await at_rest(site), 1)
    report.verdict = judge(await look(site))
    report.refused = dict(load.refused)
    (row,) = await site.query(_ATTEMPTS)
    retries = row["attempts"] - row["messages"]
    report.measured["retries per first attempt"] = round(retries / max(row["messages"], 1), 2)
    if load.seconds:
        report.measured["messages per second"] = round(load.acknowledged / load.seconds)
    report.check(not report.verdict.wrong, f"{report.verdict.wrong}")
    report.check(report.verdict.acknowledged, "nothing was acknowledged: the run proved nothing")
    return report


async def with_progress(work: Any, load: Load, say: Say) -> None:
    """Do the work, with a line every five seconds."""

    async def tell() -> None:
        began = time.monotonic()
        while True:
            await asyncio.sleep(5)
            say(f"  {time.monotonic() - began:4.0f} s  sent {load.sent}  acknowledged {load.acknowledged}")

    telling = asyncio.create_task(tell())
    try:
        await work
    finally:
        telling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await telling


async def under_harm(
    name: str,
    options: Options,
    harms: Sequence[Harm],
    *,
    every: float = 2.0,
    mix: Mix = EVERYTHING,
    gateway: bool = False,
    least: float = 0.25,
    behaviour: Mapping[str, object] = ROUGH,
    **site_options: Any,
) -> Report:
    """Load for `seconds`, harm meanwhile, then rest and the verdict; at least that share of the harm must fire."""
    report = Report(scenario=name, seed=options.seed, seconds=options.seconds)
    async with open_site(options.folder, seed=options.seed, gateway=gateway, **site_options) as site:
        await site.behave(a=behaviour, b={"latency": 0.05})
        load = Load(site=site, seed=options.seed, mix=mix)
        nemesis = Nemesis(site=site, seed=options.seed, harms=harms, every=every)

        async def both() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(load.run(rate=options.rate, seconds=options.seconds))
                group.create_task(nemesis.run(options.seconds * 0.9))

        await with_progress(both(), load, options.say)
        report.fired = dict(nemesis.fired)
        report.check(nemesis.fired.total() >= least * options.seconds / every, f"too few faults fired: {report.fired}")
        return await conclude(report, site, load)


async def kills(options: Options) -> Report:
    """kill -9 of a random process of ours every 2 s under load, gateway and config among them."""
    mix = Mix(failover_on_receipt=0.1, receipts=0.1, cancels=0.02, renames_per_second=1, through_gateway=0.1, keyed=0.1)
    return await under_harm("kills", options, [kill_any], mix=mix, gateway=True)


async def pauses(options: Options) -> Report:
    """SIGSTOP of a dispatcher past its leases, again and again."""
    return await under_harm("pauses", options, [pause_dispatcher], every=1.0, least=0.1)


async def lines(options: Options) -> Report:
    """Lines to providers, to PostgreSQL and from callers are delayed, cut and lost."""
    return await under_harm("lines", options, [spoil_providers, spoil_database, spoil_callers], every=1.0, proxied=True)


async def postgres(options: Options) -> Report:
    """PostgreSQL stops immediately and recovers under load."""
    return await under_harm("postgres", options, [stop_postgres], every=5.0)


async def everything(options: Options) -> Report:
    """All of these harms by turns."""
    harms = [kill_any, kill_any, pause_dispatcher, stop_postgres, spoil_providers, spoil_database, spoil_callers]
    return await under_harm("everything", options, harms, gateway=True, proxied=True)
