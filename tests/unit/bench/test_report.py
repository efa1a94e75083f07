"""What is read from runs, how it is shown, and what counts as a loss."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bench.__main__ import CannotMeasure, main, rig_here
from bench.chart import GOOD, PLAIN, WIDTH, chart
from bench.report import as_json, busy, losses, ratios_of, steady_of, table
from bench.rig import Loop, Rig, Scale
from bench.scenario import Result, Row, Scenario, read


@asynccontextmanager
async def _nothing(_rig: Rig) -> AsyncIterator[Mapping[str, Loop]]:
    yield {}


SCENARIO = Scenario(
    name="unary",
    title="for example",
    loops=_nothing,
    rows=(
        Row(what="messages/s", figure="service.rate", beside="a.rate", at_least=0.85),
        Row(what="p99 ms", figure="service.p99_ms", at_most=25),
        Row(what="memory", figure="service.mb"),
        Row(what="limits", figure="a.rate", beside="a.rate", ours=False),
        Row(what="cost", figure="a.busy.load", beside="service.cost", steady=True),
    ),
)
RUNS = {
    "a": [{"rate": 1000.0, "busy.load": 0.4}, {"rate": 1200.0, "busy.load": 0.4}, {"rate": 1100.0, "busy.load": 0.5}],
    "service": [
        {"rate": 900.0, "p99_ms": 30.0, "mb": 80.0, "cost": 2.0},
        {"rate": 900.0, "p99_ms": 20.0, "mb": 80.0, "cost": 2.0},
        {"rate": 990.0, "p99_ms": 40.0, "mb": 80.0, "cost": 2.0},
    ],
}


def result() -> Result:
    """Three runs of two loops, read."""
    return read(SCENARIO, RUNS)


def test_a_ratio_is_the_median_of_the_ratios_of_the_runs() -> None:
    """0.9, 0.75 and 0.9 are 0.9: not the ratio of the medians."""
    ratio = result().readings[0].ratio

    assert ratio is not None
    assert (ratio.median, ratio.low, ratio.high) == (0.9, 0.75, 0.9)


def test_a_goal_is_for_the_ratio_where_there_is_one() -> None:
    """0.9 is at least 0.85; 30 ms are not at most 25; without a goal nothing is reached or missed."""
    assert [reading.reached for reading in result().readings] == [True, False, None, None, None]


def test_the_table_shows_figure_noise_ratio_and_goal() -> None:
    """One line per row, each figure with its lowest and highest run."""
    _, _, first, second, third, *_ = table([result()]).splitlines()

    assert [cell.strip() for cell in first.strip("|").split("|")] == [
        "unary",
        "messages/s",
        "900 (900 to 990)",
        "a 1,100 (1,000 to 1,200)",
        "0.90 (0.75 to 0.90)",
        "≥ 0.85",
        "yes",
    ]
    assert "≤ 25.0" in second
    assert second.rstrip(" |").endswith("no")
    assert third.count("|") == first.count("|")


def test_who_was_the_bottleneck_is_told() -> None:
    """How busy each process was, in per cent of a core."""
    assert busy([result()]) == "unary · a: load 40%"


def test_the_json_holds_every_run() -> None:
    """Nothing that was measured is rounded away; the machine stands beside it."""
    told = json.loads(json.dumps(as_json([result()], {"cores": "2"})))

    assert told["machine"] == {"cores": "2"}
    assert told["scenarios"]["unary"]["figures"]["a.rate"]["runs"] == [1000.0, 1200.0, 1100.0]
    assert told["ratios"]["unary: service.rate / a.rate"] == 0.9


def test_a_picture_has_a_bar_and_a_goal_for_each_ratio_of_ours() -> None:
    """As long as its ratio beside the longest; what misses its goal has another colour. It is well-formed XML."""
    told = as_json([result()], {})
    reached = ET.fromstring(chart(told))
    bars = reached.findall("{http://www.w3.org/2000/svg}rect")

    assert [row["what"] for row in told["rows"]] == ["unary · messages/s / a", "unary · cost"]
    assert [bar.get("width") for bar in bars] == [f"{WIDTH * 0.9:.0f}", f"{WIDTH * 0.2:.0f}"]
    assert [bar.get("fill") for bar in bars] == [GOOD, PLAIN]


def test_half_of_what_is_recorded_is_a_loss() -> None:
    """Just half is none yet, and what was never recorded is none either."""
    recorded = {"x": 0.8}

    assert losses({"x": 0.4, "new": 0.01}, recorded) == []
    assert losses({"x": 0.39}, recorded) == ["x is 0.39; 0.80 is recorded"]


def test_only_ratios_of_ours_are_told_and_only_steady_ones_recorded() -> None:
    """Milliseconds and megabytes of another machine say nothing here, and limits beside each other nothing about us;
    what swings with everybody else on the machine is nothing to compare with.
    """
    assert list(ratios_of([result()])) == ["unary: service.rate / a.rate", "unary: a.busy.load / service.cost"]
    assert dict(steady_of([result()])) == {"unary: a.busy.load / service.cost": 0.2}


def test_a_machine_that_lets_nothing_be_measured_is_told_apart_from_a_loss(capsys: pytest.CaptureFixture[str]) -> None:
    """Code 3 and one line with the reason: .ci/run says it and goes on."""

    def refused(_: object) -> int:
        raise CannotMeasure("Operation not permitted")

    assert main(["--quick"], refused) == 3
    assert capsys.readouterr().err == "bench: nothing can be measured here: Operation not permitted\n"


async def test_only_what_keeps_the_rig_from_being_set_up_is_such_a_reason() -> None:
    """A file that is missing later is a mistake of the bench, and has to look like one."""

    @asynccontextmanager
    async def opening(_scale: Scale) -> AsyncIterator[Any]:
        if refuses:
            raise PermissionError(1, "Operation not permitted")
        yield None

    refuses = True
    with pytest.raises(CannotMeasure, match="not permitted"):
        async with rig_here(Scale(), opening):
            pass
    refuses = False
    with pytest.raises(FileNotFoundError):
        async with rig_here(Scale(), opening):
            raise FileNotFoundError
