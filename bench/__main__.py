"""The runner: `python -m bench --help`. Every loop of a scenario is run in turn, again and again, so that what slows
the machine down slows the limit and the service alike; each figure is the median of its runs.
"""

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.machine import machine
from bench.profiling import profile_dispatch
from bench.report import as_json, busy, losses, ratios_of, table
from bench.rig import Rig, Run, Scale, open_rig
from bench.scenario import Result, Scenario, read
from bench.scenarios import QUICK, SCENARIOS

QUICK_SECONDS = 1.0
RECORDED = Path(__file__).with_name("recorded.json")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    by_name = "\n".join(f"  {each.name:<14} {each.title}" for each in SCENARIOS)
    made = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure messagepipe beside the limit of this machine, in the same run.",
        epilog=f"scenarios:\n{by_name}",
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
    made.add_argument("--profile", choices=["dispatch"], help="where a dispatcher's time goes, by stage")
    return made


def main() -> int:
    """Measure, print, compare; the exit code."""
    wanted = parser().parse_args()
    # Whoever stops us leaves no database and no services behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if wanted.profile:
        print(asyncio.run(_profiled(_scale(wanted))))
        return 0
    chosen = wanted.scenario or (QUICK if wanted.quick else [each.name for each in SCENARIOS])
    scenarios = [each for each in SCENARIOS if each.name in chosen]
    results, about = asyncio.run(measure(scenarios, runs=wanted.runs, scale=_scale(wanted)))
    print("\n".join(f"{name}: {words}" for name, words in about.items()), end="\n\n")
    print(table(results), end="\n\n")
    print(busy(results))
    if wanted.json:
        text = json.dumps(as_json(results, about), indent=1, ensure_ascii=False)
        wanted.json.write_text(f"{text}\n", encoding="utf-8")
    if wanted.record:
        keep(results)
    return _compared(results) if wanted.quick else 0


def _scale(wanted: argparse.Namespace) -> Scale:
    stored = (wanted.stored // 100, wanted.stored // 10, wanted.stored)
    seconds = QUICK_SECONDS if wanted.quick else wanted.seconds
    return Scale(seconds=seconds, backlog=wanted.backlog, stored=stored, queued=wanted.stored)


async def _profiled(scale: Scale) -> str:
    async with open_rig(scale) as rig:
        return await profile_dispatch(rig)


async def measure(scenarios: Sequence[Scenario], *, runs: int, scale: Scale) -> tuple[list[Result], dict[str, str]]:
    """The results of these scenarios, and the machine that they are of."""
    async with open_rig(scale) as rig:
        about = machine(await rig.postgres.settings())
        return [await measured(rig, each, runs) for each in scenarios], dict(about)


async def measured(rig: Rig, scenario: Scenario, runs: int) -> Result:
    """The result of one scenario."""
    began = time.monotonic()
    found: dict[str, list[Run]] = {}
    async with scenario.loops(rig) as loops:
        for number in range(1, runs + 1):
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
    """Record the ratios of these results beside those of others."""
    known = json.loads(RECORDED.read_text(encoding="utf-8")) if RECORDED.exists() else {}
    text = json.dumps({**known, **ratios_of(results)}, indent=1, sort_keys=True, ensure_ascii=False)
    RECORDED.write_text(f"{text}\n", encoding="utf-8")


def _compared(results: Sequence[Result]) -> int:
    recorded = json.loads(RECORDED.read_text(encoding="utf-8")) if RECORDED.exists() else {}
    lost = losses(ratios_of(results), recorded)
    for line in lost:
        sys.stderr.write(f"bench: {line}\n")
    return 1 if lost else 0


if __name__ == "__main__":
    raise SystemExit(main())
