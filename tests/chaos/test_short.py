"""The slice of the chaos runs that every `make test` plays: one site, one of each harm, the same seed every time."""

import asyncio
import signal
from pathlib import Path

import pytest

from tests.chaos.at_points import armed
from tests.chaos.load import Load, Mix
from tests.chaos.scenarios import ROUGH, Report, conclude
from tests.chaos.site import LEASE_SECONDS, Site, open_site

SEED = 4
RATE = 25.0
# Once each: an acknowledgement that nobody heard, an answer that nobody recorded, a claim that nobody worked on.
POINTS = ("accept.committed:3:kill", "send.answered:3:kill", "claim.taken:1:kill")


@pytest.mark.timeout(180)
async def test_kills_a_pause_and_a_stop_of_postgres_lose_nothing(tmp_path: Path) -> None:
    """SIGKILL at three failpoints, SIGSTOP past the lease and an immediate stop of PostgreSQL under load: nothing
    acknowledged is lost or stuck, no duplicate is unexplained.
    """
    mix = Mix(failover_on_receipt=0.3, receipts=0.3, cancels=0.1, renames_per_second=1)
    report = Report(scenario="short", seed=SEED, seconds=0)
    async with open_site(tmp_path / "site", seed=SEED, timeout_seconds=1.0) as site:
        await site.behave(a=ROUGH, b={"latency": 0.05})
        load, enough = Load(site=site, seed=SEED, mix=mix), asyncio.Event()
        loading = asyncio.create_task(load.run(rate=RATE, seconds=120, until=enough))
        try:
            fired = await harm(site)
        finally:
            enough.set()
            await loading
        await conclude(report, site, load)

    assert fired == [-signal.SIGKILL] * len(POINTS)
    assert report.failures == [], report.table()
    assert report.verdict.ambiguous, "no attempt was cut short: the kills proved nothing"


async def harm(site: Site) -> list[int | None]:
    """One of each; the return codes of what was to be killed."""
    first, second = site.dispatchers
    codes = []
    for entry in POINTS:
        await site.services[first].kill()
        await site.restart(first, **armed(entry))
        codes.append(await site.services[first].ended(30))
    await site.restart(first)
    site.services[second].send(signal.SIGSTOP)
    await asyncio.sleep(LEASE_SECONDS * 1.5)
    site.services[second].send(signal.SIGCONT)
    await site.database.stop_immediately()
    await site.database.start()
    return codes
