"""The results as a table for people, as JSON for programs, and as the ratios that are kept. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.arithmetic import Figure
from bench.scenario import Reading, Result, Row

HEAD = ("scenario", "figure", "median (min to max)", "beside", "ratio (min to max)", "goal", "reached")


def table(results: Sequence[Result]) -> str:
    """A Markdown table that is also readable as it is."""
    rows = [HEAD, *(line for result in results for line in _lines(result))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    shown = [" | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
    shown.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in shown)


def _lines(result: Result) -> Iterator[tuple[str, ...]]:
    for reading in result.readings:
        row = reading.row
        reached = reading.reached
        yield (
            result.scenario.name,
            row.what,
            show(reading.figure),
            f"{row.beside.partition('.')[0]} {show(reading.beside)}" if reading.beside else "",
            show(reading.ratio) if reading.ratio else "",
            goal(reading),
            "" if reached is None else "yes" if reached else "no",
        )


def goal(reading: Reading) -> str:
    """≥ or ≤ what."""
    row = reading.row
    if row.at_least is not None:
        return f"≥ {_number(row.at_least)}"
    return "" if row.at_most is None else f"≤ {_number(row.at_most)}"


def show(figure: Figure) -> str:
    """`1,234 (1,200 to 1,300)`."""
    return f"{_number(figure.median)} ({_number(figure.low)} to {_number(figure.high)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def busy(results: Sequence[Result]) -> str:
    """How busy each process was in each loop, as a share of one core: who was the bottleneck."""
    lines = []
    for result in results:
        for name, figure in result.figures.items():
            loop, _, what = name.partition(".busy.")
            if what:
                lines.append((f"{result.scenario.name} · {loop}", f"{what} {figure.median:.0%}"))
    loops = dict.fromkeys(loop for loop, _ in lines)
    return "\n".join(f"{loop}: {', '.join(said for its, said in lines if its == loop)}" for loop in loops)


def ratios_of(results: Sequence[Result]) -> Mapping[str, float]:
    """The ratio of every row of ours that has one, by a name that stays the same from version to version."""
    return {
        _name(result.scenario.name, reading.row): round(reading.ratio.median, 3)
        for result in results
        for reading in result.readings
        if reading.ratio and reading.row.ours
    }


def steady_of(results: Sequence[Result]) -> Mapping[str, float]:
    """Those of the ratios that are the same on a busy machine."""
    rows = [(result.scenario.name, reading.row) for result in results for reading in result.readings]
    steady = {_name(scenario, row) for scenario, row in rows if row.steady}
    return {name: ratio for name, ratio in ratios_of(results).items() if name in steady}


def losses(found: Mapping[str, float], recorded: Mapping[str, float]) -> list[str]:
    """What is below half of what was recorded, one line each; what was not recorded is no loss."""
    return [
        f"{name} is {value:.2f}; {recorded[name]:.2f} is recorded"
        for name, value in found.items()
        if name in recorded and value < recorded[name] / 2
    ]


def _name(scenario: str, row: Row) -> str:
    return f"{scenario}: {row.figure} / {row.beside}"


def as_json(results: Sequence[Result], machine: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that was measured, run by run."""
    return {
        "machine": dict(machine),
        "ratios": dict(ratios_of(results)),
        "rows": [
            row for result in results for reading in result.readings for row in _told(result.scenario.name, reading)
        ],
        "scenarios": {
            result.scenario.name: {
                "title": result.scenario.title,
                "figures": {name: _plain(figure) for name, figure in result.figures.items()},
            }
            for result in results
        },
    }


def _told(scenario: str, reading: Reading) -> Iterator[dict[str, Any]]:
    """A row with a ratio of ours that should be large, for a picture; of CPU time ours stands below, not the limit."""
    row = reading.row
    if reading.ratio and row.ours and row.at_most is None:
        what = row.what if row.steady else f"{row.what} / {row.beside.partition('.')[0]}"
        yield {"what": f"{scenario} · {what}", "at_least": row.at_least, "ratio": _plain(reading.ratio)}


def _plain(figure: Figure) -> dict[str, Any]:
    return {"median": figure.median, "low": figure.low, "high": figure.high, "runs": list(figure.runs)}
