"""The scenarios as a whole, the times between providers, the profile's stages and the log's statements."""

import json
import time

import pytest

from bench.__main__ import RECORDED, parser
from bench.content import provider_request, unary_request
from bench.load import closed, opened
from bench.postgres import is_statement
from bench.profiling import DRIVER, OTHER, by_function, by_stage, samples, stage_of, summary
from bench.scenarios import SCENARIOS, quick
from bench.scenarios.failover import gaps

ACCEPT = "accept and its commit"
MAIN = "Runner.run (asyncio/runners.py:118)"


def test_every_scenario_has_a_name_of_its_own_and_can_be_asked_for() -> None:
    """Names are unique, and each has a row to show."""
    names = [scenario.name for scenario in SCENARIOS]

    assert len(set(names)) == len(names)
    assert all(scenario.rows for scenario in SCENARIOS)
    assert parser().parse_args([f"--scenario={name}" for name in names]).scenario == names


def test_what_the_quick_bench_compares_is_recorded() -> None:
    """A ratio that is not in the file is compared with nothing: whoever adds or renames one records it."""
    compared = {f"quick: {row.figure} / {row.beside}" for row in quick.SCENARIO.rows if row.steady}

    assert len(compared) == 3
    assert compared == set(json.loads(RECORDED.read_text(encoding="utf-8")))


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


def test_a_profile_shares_out_what_each_thread_ran() -> None:
    """Three of four samples of the thread that ran 900 of 1,000 ms are 675 of 1,000 µs. A thread that was seen as
    often, and ran for 50 ms, is worth 50; one that was never seen because it has no Python too.
    """
    main = f"thread (7): MainThread;{MAIN}"
    stacks = f"{main};meth (structlog/_native.py:1) 3\n{main} 1\nthread (8): T;_run (x/y.py:1) 4\n"
    found = samples(stacks, {7: 0.9, 8: 0.05, 9: 0.05})

    stages = by_stage(found)
    assert {stage: round(share * 1000) for stage, share in stages.items()} == {
        "log": 675,
        OTHER: 275,
        "grpc's own threads": 50,
    }
    assert "| log | 67.5% | 675 |" in summary(found, 1000.0)


def test_what_a_function_calls_is_counted_for_it_once() -> None:
    """However often it is in the stack; and only functions of ours are shown with all that they call."""
    stack = "thread (7): M;a (services/x.py:1);b (httpx/y.py:1);a (services/x.py:9);c (httpx/z.py:1) 2"
    found = samples(stack, {7: 1.0})

    assert by_function(found, within=True) == {"a (services/x.py)": 1.0}
    assert by_function(found, within=False) == {"c (httpx/z.py)": 1.0}


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
