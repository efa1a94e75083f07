"""Medians, noise, ratios, percentiles, the schedule of an open loop, and how answers are dealt out."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.arithmetic import Figure, Portions, percentile, ratios, schedule, spread


def test_a_figure_is_the_median_with_its_noise() -> None:
    """One run in three that went wrong moves the noise and not the figure."""
    figure = Figure.of([100.0, 20.0, 101.0])

    assert (figure.median, figure.low, figure.high) == (100.0, 20.0, 101.0)
    assert figure.runs == (100.0, 20.0, 101.0)


def test_a_figure_needs_a_run() -> None:
    """Nothing measured is no figure, not a zero."""
    with pytest.raises(ValueError, match="needs a run"):
        Figure.of([])


def test_a_ratio_compares_runs_that_were_made_together() -> None:
    """A machine that was half as fast for one run was so for limit and service: the ratio does not notice."""
    assert ratios([80.0, 40.0], [100.0, 50.0]) == (0.8, 0.8)


def test_a_ratio_to_nothing_is_infinite() -> None:
    """A limit that measured nothing does not end the run with an exception."""
    assert ratios([1.0], [0.0]) == (math.inf,)


def test_every_run_has_its_limit() -> None:
    """Runs without a limit beside them are a mistake of the rig."""
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0, 2.0], [1.0])


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.0, 1.0), (0.995, 100.0)])
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: float) -> None:
    """Of 1 to 100 the 99th percentile is 99: the smallest value that 99 % do not exceed."""
    assert percentile([float(value) for value in range(100, 0, -1)], share) == expected


def test_no_latencies_are_no_error() -> None:
    """A run in which nothing came back has percentiles of zero, beside a rate of zero."""
    assert spread([]) == {"p50_ms": 0.0, "p99_ms": 0.0}


def test_latencies_are_told_in_milliseconds() -> None:
    """Two seconds are 2,000 ms."""
    assert spread([2.0])["p99_ms"] == 2000.0


def test_an_open_loop_sends_by_a_schedule_that_is_fixed_beforehand() -> None:
    """Evenly from zero on, `rate` times `seconds` of them."""
    assert schedule(4, 1.0) == (0.0, 0.25, 0.5, 0.75)


@given(rate=st.floats(1, 5000), seconds=st.floats(0.1, 10))
def test_a_schedule_is_even_and_ends_in_time(rate: float, seconds: float) -> None:
    """Whatever the rate: as many as it says, none after the end."""
    due = schedule(rate, seconds)

    assert len(due) == int(rate * seconds)
    assert all(0 <= each < seconds for each in due)


def test_answers_are_dealt_out_evenly() -> None:
    """Of 30 % refusals any ten in a row hold three, never more than one behind the other's turn."""
    portions = Portions({202: 0.7, 429: 0.3})
    dealt = [portions.next() for _ in range(100)]

    assert all(dealt[start : start + 10].count(429) == 3 for start in range(0, 100, 10))


def test_shares_need_not_add_up_to_one() -> None:
    """{503: 1} is always 503; 2 to 1 is two of three."""
    assert {Portions({503: 1}).next() for _ in range(3)} == {503}
    assert sorted(Portions({202: 2, 503: 1}).next() for _ in range(1)) == [202]
