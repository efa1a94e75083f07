"""What a scenario is: loops that are measured in turn, and what is read from them. The scenarios are in scenarios/."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from bench.arithmetic import Figure, ratios
from bench.rig import Loop, Rig, Run

Loops = Callable[[Rig], AbstractAsyncContextManager[Mapping[str, Loop]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table: a figure such as `service.rate`, the one it stands `beside`, and the goal.

    The goal is for the ratio where there is something beside it, for the figure otherwise. `ours` is false where one
    limit stands beside another: no regression of ours can be read from that. A `steady` ratio is the same on a busy
    machine: those are recorded, and compared with what is recorded.
    """

    what: str
    figure: str
    beside: str = ""
    at_least: float | None = None
    at_most: float | None = None
    ours: bool = True
    steady: bool = False

    def reached(self, value: float) -> bool | None:
        """Whether a value is as good as the goal; None without one."""
        if self.at_least is not None:
            return value >= self.at_least
        return None if self.at_most is None else value <= self.at_most


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`loops` opens what is measured: loops by name, run one after the other in this order, again and again."""

    name: str
    title: str
    loops: Loops
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A row with what was measured; `ratio` where something stands beside the figure."""

    row: Row
    figure: Figure
    beside: Figure | None
    ratio: Figure | None

    @property
    def reached(self) -> bool | None:
        """Whether the goal was reached; None without one."""
        return self.row.reached((self.ratio or self.figure).median)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A scenario with all that was measured, by figure, and its table lines."""

    scenario: Scenario
    figures: Mapping[str, Figure]
    readings: tuple[Reading, ...]


def read(scenario: Scenario, runs: Mapping[str, Sequence[Run]]) -> Result:
    """What the runs of every loop say."""
    values = {f"{loop}.{name}": [run[name] for run in its] for loop, its in runs.items() for name in its[0] if its}
    figures = {name: Figure.of(each) for name, each in values.items()}
    readings = tuple(
        Reading(
            row=row,
            figure=figures[row.figure],
            beside=figures[row.beside] if row.beside else None,
            ratio=Figure.of(ratios(values[row.figure], values[row.beside])) if row.beside else None,
        )
        for row in scenario.rows
    )
    return Result(scenario=scenario, figures=figures, readings=readings)
