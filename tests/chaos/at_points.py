"""Runs that hurt a process at a named point of its code: SIGKILL at each, and SIGSTOP past the lease at three."""

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import psutil

from tests.chaos.load import Load, Mix
from tests.chaos.oracle import judge, look
from tests.chaos.points import POINTS, Point, Prelude
from tests.chaos.scenarios import EVERYTHING, ROUGH, Options, Report, at_rest, conclude
from tests.chaos.site import LEASE_SECONDS, Site, open_site

REACHED_WITHIN = 40.0
RATE = 40.0
PAUSE_POINTS = ("send.before_wire", "send.answered", "claim.taken")
BUSY = replace(EVERYTHING, failover_on_receipt=0.6, receipts=0.5, cancels=0.2, renames_per_second=4)


async def failpoints(options: Options, points: Sequence[Point] = POINTS, times: int | None = None) -> Report:
    """SIGKILL at each failpoint, again and again, under load."""
    repeats = times or max(1, round(options.seconds / 60))
    report = Report(scenario="failpoints", seed=options.seed, seconds=options.seconds)
    dice = random.Random(options.seed)
    fired: Counter[str] = Counter()
    async with open_site(options.folder, seed=options.seed, quick=True, DRAIN_GRACE="0.3") as site:
        await site.behave(a=ROUGH, b={"latency": 0.05})
        load = Load(site=site, seed=options.seed, mix=BUSY)
        for point in points:
            counts = [dice.randint(1, point.latest) for _ in range(repeats)]
            fired[point.name] = await _kill_again_and_again(site, load, point, counts)
            missed = repeats - fired[point.name]
            report.check(not missed, f"{point.name} was not reached {missed} times within {REACHED_WITHIN:g} s")
            await at_rest(site)
            verdict = judge(await look(site))
            wrong = verdict.wrong
            report.check(not wrong, f"after {point.name}: {wrong} {verdict.problems[:5]}")
            options.say(f"  {point.name:<24} killed {fired[point.name]} times, {load.acknowledged} messages, {wrong}")
        report.fired = dict(fired)
        report.check(await _names_hold(site, load), "an acknowledged change of configuration is gone")
        return await conclude(report, site, load)


async def _kill_again_and_again(site: Site, load: Load, point: Point, counts: Sequence[int]) -> int:
    """How often the process died at the point; it serves again, unarmed, afterwards."""
    name = "config" if point.process == "config" else site.dispatchers[0]
    enough, died = asyncio.Event(), 0
    loading = asyncio.create_task(load.run(rate=RATE, seconds=3600, until=enough))
    try:
        for count in counts:
            await site.services[name].kill()
            said = site.services[name].output().count(f"failpoint {point.name} kill")
            await site.restart(name, **armed(f"{point.name}:{count}:kill"))
            await _play(site, name, point.prelude)
            code = await site.services[name].ended(REACHED_WITHIN)
            says = site.services[name].output().count(f"failpoint {point.name} kill")
            died += code == -signal.SIGKILL and says > said
    finally:
        enough.set()
        await site.services[name].kill()
        await site.restart(name)
        await loading  # callers wait for the process to be back
    return died


def armed(entry: str) -> dict[str, str]:
    """The environment of a process that is hurt at a point."""
    return {"MESSAGEPIPE_FAILPOINTS": entry, "MESSAGEPIPE_FAILPOINTS_ALLOWED": "true"}


async def _play(site: Site, name: str, prelude: Prelude) -> None:
    if prelude is Prelude.NOTHING:
        return
    others = [each for each in site.dispatchers if each != name]
    # Calls take a while, so that some are in flight when it happens.
    slow = {"words": {"accept": 1}, "latency": 0.8}
    await site.behave(a=slow, b=slow)
    await asyncio.sleep(1.5)
    if prelude is Prelude.OTHER_DIES:
        await site.services[others[0]].kill()
        await site.restart(others[0])
    elif prelude is Prelude.PAUSED:
        site.services[name].send(signal.SIGSTOP)
        await asyncio.sleep(LEASE_SECONDS * 1.7)
        site.services[name].send(signal.SIGCONT)
    else:
        site.services[name].send(signal.SIGTERM)
    await site.behave(a=ROUGH, b={"latency": 0.05})


async def _names_hold(site: Site, load: Load) -> bool:
    """Whether what was acknowledged last is what is configured, unless a later change came through unacknowledged."""
    (row,) = await site.query("SELECT name FROM config.providers WHERE id = $1", site.providers["b"])
    return not load.names or row["name"] in load.possible_names


async def lease_pauses(options: Options, times: int | None = None) -> Report:
    """SIGSTOP past the lease before the wire, after the answer and between claims; all messages are AT_MOST_ONCE."""
    repeats = times or max(1, round(options.seconds / 27))
    report = Report(scenario="lease_pauses", seed=options.seed, seconds=options.seconds)
    dice = random.Random(options.seed)
    fired: Counter[str] = Counter()
    async with open_site(options.folder, seed=options.seed) as site:
        await site.behave(a={"words": {"accept": 85, "refuse": 15}, "latency": 0.05}, b={"latency": 0.05})
        load = Load(site=site, seed=options.seed, mix=Mix(at_most_once=1.0, tries=0.5))
        for name in PAUSE_POINTS:
            for _ in range(repeats):
                fired[name] += await pause_at(site, load, name, dice.randint(1, 5))
            options.say(f"  {name:<24} paused {fired[name]} times  acknowledged {load.acknowledged}")
            report.check(fired[name] == repeats, f"paused {fired[name]} of {repeats} times at {name}")
        report.fired = dict(fired)
        report.measured["taken over"] = await _taken_over(site)
        report.check(report.measured["taken over"], "nobody took over: the pauses proved nothing")
        return await conclude(report, site, load)


async def pause_at(
    site: Site, load: Load, point: str, count: int, *, seconds: float = LEASE_SECONDS * 1.7, only: bool = False
) -> bool:
    """Whether the first dispatcher stood still at the point for so long; it goes on afterwards. `only` one message is
    on its way then.
    """
    name = site.dispatchers[0]
    process = site.services[name]
    await process.kill()
    await site.restart(name, **armed(f"{point}:{count}:pause"))
    enough = asyncio.Event()
    work = load.hand_over(1, site.targets[name]) if only else load.run(rate=RATE, seconds=REACHED_WITHIN, until=enough)
    loading = asyncio.create_task(work)
    try:
        stands = await _stands_still(process.pid, REACHED_WITHIN)
        enough.set()
        await asyncio.sleep(seconds)
        process.send(signal.SIGCONT)
        await asyncio.sleep(1.0)
    finally:
        enough.set()
        process.send(signal.SIGCONT)
        await loading
    return stands


async def _stands_still(pid: int, seconds: float) -> bool:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if psutil.Process(pid).status() == psutil.STATUS_STOPPED:
            return True
        await asyncio.sleep(0.02)
    return False


async def _taken_over(site: Site) -> int:
    """How many messages went on under another epoch after the one they were accepted under."""
    rows = await site.query("SELECT count(*) AS count FROM dispatch.completions WHERE epoch > 1")
    return int(rows[0]["count"])
