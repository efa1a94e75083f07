"""Runs in which what surrounds us fails for a while: answers vanish, providers are down, watchers are cut off, the disk
is full.
"""

import asyncio
import contextlib
import os
import random
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb
from messagepipe.dispatch.v1.attempt_pb2 import Attempt
from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from messagepipe.dispatch.v1.message_pb2 import Message

from tests.chaos.database import database
from tests.chaos.load import Load, Mix
from tests.chaos.oracle import Evidence, look
from tests.chaos.proxy import FaultProxy, fault_proxy
from tests.chaos.scenarios import ROUGH, Options, Report, at_rest, conclude, with_progress
from tests.chaos.site import CHANNEL_OPTIONS, Site, open_site
from tests.integration.rig import metadata

ACCEPTED, DEFERRED, UNKNOWN = Attempt.OUTCOME_ACCEPTED, Attempt.OUTCOME_DEFERRED, Attempt.OUTCOME_UNKNOWN
FAST = {"words": {"accept": 1}, "latency": 0.05}
# What may become of a message whose first provider keeps it and never answers: the outcomes of its attempts in order,
# and its state. A provider that is known to be silent may be passed by, so the second one may be the first asked.
VANISHED: Mapping[bool, frozenset[tuple[tuple[int | None, ...], int | None]]] = {
    False: frozenset({((UNKNOWN, ACCEPTED), Message.STATE_SENT), ((ACCEPTED,), Message.STATE_SENT)}),
    True: frozenset({((UNKNOWN,), Message.STATE_UNKNOWN), ((ACCEPTED,), Message.STATE_SENT)}),
}


async def vanishing_answers(options: Options) -> Report:
    """The first provider's answers vanish: every message's story is one that the policy table allows."""
    report = Report(scenario="vanishing_answers", seed=options.seed, seconds=options.seconds)
    async with open_site(options.folder, seed=options.seed, timeout_seconds=1.0) as site:
        await site.behave(a={"words": {"swallow": 1}}, b=FAST)
        load = Load(site=site, seed=options.seed, mix=Mix(at_most_once=0.5, tries=0.5))
        await with_progress(load.run(rate=options.rate, seconds=options.seconds), load, options.say)
        await conclude(report, site, load)
        stories = _stories(await look(site))
        report.measured["stories"] = {f"{key}": count for key, count in stories.items()}
        odd = [key for key in stories if (key[1], key[2]) not in VANISHED[key[0]]]
        report.check(not odd, f"stories that the policy does not know: {odd[:5]}")
        report.fired = {"answers vanished": sum(count for key, count in stories.items() if UNKNOWN in key[1])}
        report.check(report.fired["answers vanished"], "no answer vanished")
        report.check(any(key[0] for key in stories), "no message was AT_MOST_ONCE")
    return report


def _stories(evidence: Evidence) -> Counter[tuple[bool, tuple[int | None, ...], int | None]]:
    """How often which outcomes led to which state. Of an attempt that was not sent no policy says anything: a machine
    that is too busy to renew a lease in time makes some.
    """
    return Counter(
        (evidence.sent[known.key], tuple(each.outcome for each in known.tries if each.sent), known.state)
        for known in evidence.known.values()
    )


async def both_down(options: Options) -> Report:
    """Both providers are down for half of the time: how many retries that costs, and how soon all is drained."""
    report = Report(scenario="both_down", seed=options.seed, seconds=options.seconds)
    outage = options.seconds / 2
    async with open_site(options.folder, seed=options.seed) as site:
        await site.behave(a=FAST, b=FAST)
        # Enough rounds to live through the outage: what is limited is how often providers are asked meanwhile.
        load = Load(site=site, seed=options.seed, mix=Mix(at_most_once=0.2, tries=0, rounds=10))

        async def fail() -> None:
            await asyncio.sleep(options.seconds / 4)
            await site.behave(a={"words": {"refuse": 1}}, b={"words": {"refuse": 1}})
            await asyncio.sleep(outage)
            await site.behave(a=FAST, b=FAST)

        async def both() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(load.run(rate=options.rate, seconds=options.seconds * 3 / 4))
                group.create_task(fail())

        await with_progress(both(), load, options.say)
        drained = await at_rest(site, seconds=outage * 3)
        await conclude(report, site, load)
        (row,) = await site.query(_ATTEMPTS)
        retries = row["attempts"] - row["messages"]
        report.measured |= {"attempts": row["attempts"], "first attempts": row["messages"], "retries": retries}
        report.measured |= {"drained after": round(drained, 1), "deferred": row["deferred"]}
        rounds = await site.query(_ROUNDS)
        report.measured["refusals by round"] = {each["round"]: each["refusals"] for each in rounds}
        report.fired = {"refused by providers": row["deferred"]}
        report.check(row["deferred"], "no provider refused anything")
        report.check(retries <= 1.1 * row["messages"], f"{retries} retries for {row['messages']} first attempts")
        report.check(drained <= 2 * outage, f"drained after {drained:.0f} s, the outage was {outage:.0f} s")
    return report


_ATTEMPTS = f"""
SELECT count(*) AS attempts, count(*) FILTER (WHERE outcome = {DEFERRED}) AS deferred,
       count(DISTINCT message_id) AS messages FROM dispatch.attempts
"""

_ROUNDS = f"""
SELECT round, count(*) AS refusals FROM dispatch.attempts WHERE outcome = {DEFERRED} GROUP BY round ORDER BY round
"""


async def watchers(options: Options, count: int = 500) -> Report:
    """Hundreds of watchers over lines that are cut: each sees exactly its message's events, in order, none twice."""
    report = Report(scenario="watchers", seed=options.seed, seconds=options.seconds)
    async with open_site(options.folder, seed=options.seed) as site:
        await site.behave(a={**ROUGH, "latency": 0.8}, b={"latency": 0.8})
        load = Load(site=site, seed=options.seed, mix=Mix(tries=0.8, cancels=0.02))
        host, port = site.targets[site.dispatchers[1]].split(":")
        async with fault_proxy((host, int(port)), seed=options.seed) as line:
            crowd = Crowd(line=line, load=load, dice=random.Random(options.seed))

            async def both() -> None:
                async with asyncio.TaskGroup() as group:
                    group.create_task(load.run(rate=options.rate, seconds=options.seconds))
                    group.create_task(crowd.gather(count, options.seconds * 0.9))
                await at_rest(site)
                await crowd.disperse()

            await with_progress(both(), load, options.say)
        await conclude(report, site, load)
        known = (await look(site)).known
        wrong = [key for key, found in crowd.seen if found != [number for number, _ in known[key].told]]
        report.fired = {"connections cut": line.fired.total(), "streams resumed": crowd.resumed}
        report.measured["watchers"] = len(crowd.seen)
        report.check(len(crowd.seen) == count, f"{len(crowd.seen)} of {count} watchers came to an end")
        report.check(crowd.resumed > count / 10, "hardly a stream was cut")
        report.check(not wrong, f"{len(wrong)} watchers saw something else, such as {wrong[:3]}")
    return report


@dataclass
class Crowd:
    """Watchers of messages, over a line that is cut again and again. `seen` is what each was told, once it ended."""

    line: FaultProxy
    load: Load
    dice: random.Random
    seen: list[tuple[str, list[int]]] = field(default_factory=list)
    resumed: int = 0

    async def gather(self, count: int, seconds: float) -> None:
        """So many watchers come, spread over so long, each to any message that there is by then."""
        self._cutting = asyncio.create_task(self._cut())
        self._watching: list[asyncio.Task[None]] = []
        while len(self._watching) < count:
            await asyncio.sleep(seconds / count)
            if self.load.ids:
                # Some to the newest, to see it happen; some to old ones, to read the history.
                recent = self.load.ids[-20:] if self.dice.random() < 0.7 else self.load.ids
                self._watching.append(asyncio.create_task(self._watch(self.dice.choice(recent))))

    async def disperse(self) -> None:
        """Every message has ended: so must every watch."""
        self._cutting.cancel()
        async with asyncio.timeout(60):
            await asyncio.gather(*self._watching)

    async def _cut(self) -> None:
        while True:
            await asyncio.sleep(self.dice.uniform(0.2, 0.6))
            self.line.cut()

    async def _watch(self, message_id: str) -> None:
        """Every sequence one watcher is told, over as many connections as it takes."""
        found: list[int] = []
        options = [*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1)]
        while True:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{self.line.port}", options=options) as channel:
                request = pb.WatchMessageRequest(message_id=message_id, after_sequence=found[-1] if found else 0)
                try:
                    async for event in DispatchServiceStub(channel).WatchMessage(request, metadata=metadata()):
                        found.append(event.sequence)  # noqa: PERF401 - what came before the cut counts
                    break
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise
            self.resumed += 1
            await asyncio.sleep(0.05)
        self.seen.append((message_id, found))


async def full_disk(options: Options) -> Report:
    """PostgreSQL's disk fills up under load and is freed again: what was acknowledged stays."""
    report = Report(scenario="full_disk", seed=options.seed, seconds=options.seconds)
    async with small_disk(options.folder.with_name(f"{options.folder.name}-disk"), megabytes=256) as disk:
        if disk is None:
            report.measured["skipped"] = "no tmpfs can be mounted here (that takes root)"
            return report
        async with (
            database({"max_wal_size": "48MB", "min_wal_size": "32MB"}, folder=disk) as base,
            open_site(options.folder, seed=options.seed, on=base) as site,
        ):
            await site.behave(a=FAST, b=FAST)
            load = Load(site=site, seed=options.seed, mix=Mix())

            async def fill() -> None:
                ballast = disk / "ballast"
                await asyncio.sleep(options.seconds / 4)
                await asyncio.to_thread(_fill, ballast)
                await asyncio.sleep(options.seconds / 4)
                report.measured["refused while full"] = sum(load.refused.values())
                await asyncio.to_thread(ballast.unlink)
                report.measured["database had to recover"] = await _recovered(site)

            async def both() -> None:
                async with asyncio.TaskGroup() as group:
                    group.create_task(load.run(rate=options.rate, seconds=options.seconds))
                    group.create_task(fill())

            await with_progress(both(), load, options.say)
            report.fired = {"disk full": int(sum(load.refused.values()) > 0)}
            report.check(report.fired["disk full"], "nobody felt the full disk")
            return await conclude(report, site, load)


async def _recovered(site: Site) -> bool:
    """Whether PostgreSQL gave up when it could not write its log (it panics), and was started again."""
    if await site.database.is_running():
        return False
    await site.database.start()
    return True


def _fill(ballast: Path) -> None:
    with ballast.open("wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 65536)
            file.flush()
            os.fsync(file.fileno())


@asynccontextmanager
async def small_disk(folder: Path, *, megabytes: int) -> AsyncIterator[Path | None]:
    """A disk of its own of that size; None where none can be made."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    mounted = await asyncio.to_thread(_run, "mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder))
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            await asyncio.to_thread(_run, "umount", "-l", str(folder))


def _run(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0
    except OSError:
        return False
