"""The chaos runner for people: one scenario or all, with a progress line, a table and JSON.

python -m tests.chaos --scenario kills --seconds 300 --rate 300 --seed 7 --json report.json
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from tests.chaos.catalogue import SCENARIOS, Scenario
from tests.chaos.scenarios import Options, Report


def main() -> int:
    """Exit code 0 when everything that was run held."""
    arguments = _arguments()
    names = list(SCENARIOS) if arguments.scenario == "all" else [arguments.scenario]
    reports = []
    for name in names:
        scenario = SCENARIOS[name]
        seconds = arguments.seconds or scenario.seconds
        print(f"{name}: {scenario.summary} ({seconds:.0f} s)", flush=True)  # noqa: T201 - a runner prints
        report = asyncio.run(_run(scenario, seconds, arguments))
        print(report.table(), flush=True)  # noqa: T201 - the same
        reports.append(report)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(report) for report in reports], indent=2, default=str))
    return int(any(report.failures for report in reports))


async def _run(scenario: Scenario, seconds: float, arguments: argparse.Namespace) -> Report:
    parent = Path(tempfile.mkdtemp(prefix="chaos-")) if arguments.folder is None else arguments.folder
    folder = parent / f"{scenario.name}-{arguments.seed}-{time.strftime('%H%M%S')}"
    print(f"  logs in {folder}", flush=True)  # noqa: T201 - the same
    options = Options(folder=folder, seconds=seconds, seed=arguments.seed, rate=arguments.rate or scenario.rate)
    began = time.monotonic()
    report = await scenario.run(options)
    report.measured["whole run"] = round(time.monotonic() - began)
    return report


def _arguments() -> argparse.Namespace:
    listed = "\n".join(f"  {name:<26} {each.summary} ({each.seconds:.0f} s)" for name, each in SCENARIOS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Hurts a whole messagepipe under load and asks an oracle outside of it what was lost.",
        epilog=f"scenarios, and for how long each is under load (the whole run: tests/chaos/README.md):\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scenario", choices=["all", *SCENARIOS], default="all")
    parser.add_argument("--seconds", type=float, help="how long the load lasts; each scenario has its own default")
    parser.add_argument("--rate", type=float, help="messages per second")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    parser.add_argument("--folder", type=Path, help="where logs, the client's log and the ledger are kept")
    parser.add_argument("--json", type=Path, help="write every report here")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
