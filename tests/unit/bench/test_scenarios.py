"""The scenarios as a whole, the times between providers, the profile's stages and the log's statements."""

import time

import pytest

from bench.__main__ import parser
from bench.content import provider_request, unary_request
from bench.load import closed, opened
from bench.postgres import is_statement
from bench.profiling import DRIVER, OTHER, by_stage, stage_of, summary
from bench.scenarios import QUICK, SCENARIOS
from bench.scenarios.failover import gaps

ACCEPT = "accept and its commit"
MAIN = "Runner.run (asyncio/runners.py:118)"


def test_every_scenario_has_a_name_of_its_own_and_can_be_asked_for() -> None:
    """Names are unique; those of the quick bench exist; each has a row to show."""
    names = [scenario.name for scenario in SCENARIOS]

    assert len(set(names)) == len(names)
    assert set(QUICK) <= set(names)
    assert all(scenario.rows for scenario in SCENARIOS)
    assert parser().parse_args([f"--scenario={name}" for name in names]).scenario == names


def test_the_help_names_every_scenario() -> None:
    """Nobody has to read the code to find one."""
    assert all(f"  {scenario.name} " in parser().format_help() for scenario in SCENARIOS)


def test_a_failover_is_from_a_refusal_to_the_same_message_at_the_next() -> None:
    """What A took, and what B got from elsewhere, is no failover."""
    first = [("m1", 1.0, 503), ("m2", 1.5, 202), ("m3", 2.0, 503)]
    second = [("m1", 1.25, 0), ("m2", 1.75, 0), ("m4", 3.0, 0)]

    assert gaps(first, second) == [0.25]


@pytest.mark.parametrize(
    ("stack", "stage"),
    [
        ([MAIN, "Store._apply (services/dispatch/store.py:143)", "x (asyncpg/connection.py:1)"], "settle"),
        ([MAIN, "HttpAdapter.send (services/adapters/http.py:1)", "meth (structlog/_native.py:1)"], "log"),
        ([MAIN, "_built (services/adapters/http.py:9)", "Request (httpx/_models.py:1)"], "request build"),
        ([MAIN, "exchange (services/adapters/http.py:9)", "Request (httpx/_models.py:1)"], "transport"),
        ([MAIN, "exchange (services/adapters/http.py:9)", "post (aiohttp/client.py:1)"], "transport"),
        ([MAIN, "Store._accept (services/dispatch/store.py:1)", "w (services/dispatch/access.py:5)"], ACCEPT),
        ([MAIN, "data_received (asyncpg/protocol.py:5)"], DRIVER),
        ([MAIN], OTHER),
    ],
)
def test_a_sample_belongs_to_the_innermost_frame_that_says_something(stack: list[str], stage: str) -> None:
    """Libraries that many stages use count for the one that called them."""
    assert stage_of(stack) == stage


def test_a_profile_counts_samples_and_shares_out_the_cost() -> None:
    """Three of four samples are three quarters of the microseconds."""
    stacks = f"{MAIN};meth (structlog/_native.py:1) 3\n{MAIN} 1\n"

    assert by_stage(stacks) == {"log": 3, OTHER: 1}
    assert "| log | 75.0% | 750 |" in summary(stacks, 1000.0)


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("@messagepipe dispatch host:1 LOG:  execute __asyncpg_stmt_1__: SELECT 1\n", True),
        ("@messagepipe dispatch host:1 LOG:  statement: BEGIN;\n", True),
        ("@messagepipe config LOG:  statement: BEGIN;\n", False),
        ("        FROM dispatch.queue LOG:  execute\n", False),
        ("@messagepipe dispatch host:1 ERROR:  deadlock detected\n", False),
    ],
)
def test_only_the_first_line_of_a_dispatchers_statement_counts(line: str, counts: bool) -> None:
    """Statements of several lines count once, those of others and errors not at all."""
    assert is_statement(line) is counts


async def test_a_closed_loop_stops_when_enough_is_handed_over() -> None:
    """No call begins after that; refusals are counted apart."""
    answers = iter([1, 0, *[1] * 100])

    async def one() -> int:
        return next(answers)

    said = await closed(one, in_flight=1, seconds=60, most=5)

    assert (said["handed"], said["refused"]) == (5, 1)


async def test_an_open_loop_charges_a_standstill_to_everything_that_had_to_wait() -> None:
    """A server that stands still for 300 of 400 ms is slow for the three quarters of the calls that were due meanwhile,
    not for one of them.
    """
    stands_still = iter([True])

    async def one() -> int:
        if next(stands_still, False):
            time.sleep(0.3)  # noqa: ASYNC251 - nothing goes on meanwhile: that is the point
        return 1

    said = await opened(one, rate=100, seconds=0.4)

    assert said["handed"] == 40
    assert said["p50_ms"] > 50
    assert said["p99_ms"] > 250


def test_what_is_sent_to_a_limit_is_as_long_as_what_the_adapter_sends() -> None:
    """The limits carry the same load: the same text, and the fields that our adapter adds."""
    assert 300 < len(provider_request()) < 600
    assert len(unary_request("p")) < len(provider_request())
