"""The runner: `python -m bench --help`. Every loop of a scenario is run in turn, again and again, so that what slows
the machine down slows the limit and the service alike; each figure is the median of its runs.
"""

import argparse
import asyncio
import json
import math
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

from bench.machine import machine
from bench.profiling import WAYS, profile_dispatch
from bench.report import as_json, busy, losses, steady_of, table
from bench.rig import Rig, Run, Scale, open_rig
from bench.scenario import Result, Scenario, read
from bench.scenarios import SCENARIOS, quick
from cli.problem import Problem

# What `--quick` makes of a run, and after how many seconds it begins no further one: a minute on a busy machine too.
QUICK = Scale(seconds=0.7, warm=0.5)
QUICK_ENOUGH = 45.0
NOT_MEASURED = 3
EXIT_CODES = """exit codes:
  0 measured · 1 with --quick: a ratio is below half of the recorded one · 3 nothing can be measured here"""
RECORDED = Path(__file__).with_name("recorded.json")


class CannotMeasure(Exception):
    """Nothing can be measured on this machine; the message says why."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    by_name = "\n".join(f"  {each.name:<14} {each.title}" for each in SCENARIOS)
    made = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure messagepipe beside the limit of this machine, in the same run.",
        epilog=f"scenarios:\n{by_name}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [each.name for each in SCENARIOS]
    made.add_argument("--scenario", action="append", choices=names, metavar="NAME", help="only this; may be repeated")
    made.add_argument("--runs", type=int, default=3, help="runs of each loop (3)")
    made.add_argument("--seconds", type=float, default=5.0, help="length of each run (5)")
    made.add_argument("--backlog", type=int, default=100_000, help="messages of a backlog (100000)")
    made.add_argument("--stored", type=int, default=1_000_000, help="stored messages, and queued ones (1000000)")
    made.add_argument("--json", type=Path, metavar="FILE", help="everything that was measured")
    made.add_argument("--quick", action="store_true", help="the ratios in a minute; code 1 where one has halved")
    made.add_argument("--record", action="store_true", help=f"keep the ratios in {RECORDED.name}")
    made.add_argument("--profile", choices=WAYS, help="where a dispatcher's time goes, by stage")
    return made


def main(argv: Sequence[str] | None = None, run: Callable[[argparse.Namespace], int] | None = None) -> int:
    """Measure, print, compare; the exit code. `run` does so unless told otherwise."""
    wanted = parser().parse_args(argv)
    try:
        return (run or _run)(wanted)
    except CannotMeasure as error:
        sys.stderr.write(f"bench: nothing can be measured here: {error}\n")
        return NOT_MEASURED


def _run(wanted: argparse.Namespace) -> int:
    # Whoever stops us leaves no database and no services behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if wanted.profile:
        print(asyncio.run(_profiled(_scale(wanted), wanted.profile)))
        return 0
    enough = QUICK_ENOUGH if wanted.quick else math.inf
    results, about = asyncio.run(measure(_chosen(wanted), runs=wanted.runs, scale=_scale(wanted), enough=enough))
    print("\n".join(f"{name}: {words}" for name, words in about.items()), end="\n\n")
    print(table(results), end="\n\n")
    print(busy(results))
    if wanted.json:
        text = json.dumps(as_json(results, about), indent=1, ensure_ascii=False)
        wanted.json.write_text(f"{text}\n", encoding="utf-8")
    if wanted.record:
        keep(results)
    return _compared(results) if wanted.quick else 0


def _chosen(wanted: argparse.Namespace) -> list[Scenario]:
    if wanted.scenario:
        return [each for each in SCENARIOS if each.name in wanted.scenario]
    return [quick.SCENARIO] if wanted.quick else list(SCENARIOS)


def _scale(wanted: argparse.Namespace) -> Scale:
    if wanted.quick:
        return QUICK
    stored = (wanted.stored // 100, wanted.stored // 10, wanted.stored)
    return Scale(seconds=wanted.seconds, backlog=wanted.backlog, stored=stored, queued=wanted.stored)


async def _profiled(scale: Scale, way: str) -> str:
    async with rig_here(scale) as rig:
        return await profile_dispatch(rig, way)


@asynccontextmanager
async def rig_here(
    scale: Scale, opening: Callable[[Scale], AbstractAsyncContextManager[Rig]] = open_rig
) -> AsyncIterator[Rig]:
    """The rig; raises CannotMeasure where this machine lets none be set up. What happens later is no such reason."""
    async with AsyncExitStack() as stack:
        try:
            rig = await stack.enter_async_context(opening(scale))
        except (PermissionError, FileNotFoundError, Problem) as error:
            raise CannotMeasure(error) from error
        yield rig


async def measure(
    scenarios: Sequence[Scenario], *, runs: int, scale: Scale, enough: float = math.inf
) -> tuple[list[Result], dict[str, str]]:
    """The results of these scenarios, and the machine that they are of."""
    ends = time.monotonic() + enough
    async with rig_here(scale) as rig:
        about = machine(await rig.postgres.settings())
        return [await measured(rig, each, runs, ends) for each in scenarios], dict(about)


async def measured(rig: Rig, scenario: Scenario, runs: int, ends: float = math.inf) -> Result:
    """The result of one scenario: of one run of each loop at least, and of no other that would be over after `ends`."""
    began = time.monotonic()
    found: dict[str, list[Run]] = {}
    async with scenario.loops(rig) as loops:
        first = time.monotonic()
        for number in range(1, runs + 1):
            if number > 1 and time.monotonic() + (time.monotonic() - first) / (number - 1) > ends:
                break
            for name, loop in loops.items():
                _progress(f"{scenario.name}: run {number} of {runs}, {name}")
                found.setdefault(name, []).append(await loop())
    _progress(f"{scenario.name}: {time.monotonic() - began:.0f} s\n")
    return read(scenario, found)


def _progress(text: str) -> None:
    if sys.stderr.isatty() or text.endswith("\n"):
        sys.stderr.write(f"\r\x1b[K{text}" if sys.stderr.isatty() else text)
        sys.stderr.flush()


def keep(results: Sequence[Result]) -> None:
    """Record the steady ratios of these results beside those of others."""
    known = json.loads(RECORDED.read_text(encoding="utf-8")) if RECORDED.exists() else {}
    text = json.dumps({**known, **steady_of(results)}, indent=1, sort_keys=True, ensure_ascii=False)
    RECORDED.write_text(f"{text}\n", encoding="utf-8")


def _compared(results: Sequence[Result]) -> int:
    recorded = json.loads(RECORDED.read_text(encoding="utf-8")) if RECORDED.exists() else {}
    lost = losses(steady_of(results), recorded)
    for line in lost:
        sys.stderr.write(f"bench: {line}\n")
    return 1 if lost else 0


if __name__ == "__main__":
    raise SystemExit(main())
