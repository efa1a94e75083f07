"""Whom health passes by, and until when."""

import pytest

from services.adapters.base import Address
from services.dispatch.chain import Hold
from services.dispatch.health import Block, blocking_mark, recovery_order, scopes_of
from tests.builders import (
    NOON,
    a_chain,
    a_cooldown,
    a_mark,
    a_message,
    a_provider,
    an_email,
    an_sms,
    marks_of,
    seconds,
)

ALL = frozenset({""})


@pytest.mark.parametrize(
    ("mark", "holds"),
    [
        (a_mark("A"), True),
        (a_mark("A", config_version=2), False),
        (a_cooldown("A", ends_in=0.001), True),
        (a_cooldown("A", ends_in=0), False),
        (a_cooldown("A", ends_in=-1), False),
        (a_cooldown("A", ends_in=60, config_version=0), False),
    ],
    ids=["denied", "another version", "cooling", "just over", "long over", "cooling, another version"],
)
def test_when_a_mark_holds(mark, holds: bool) -> None:
    """A mark holds for its own version of the provider, up to but not at its end."""
    assert mark.holds(a_provider("A"), NOON) is holds
    assert (blocking_mark(a_provider("A"), ALL, marks_of(mark), NOON) is not None) is holds


def test_the_mark_that_holds_longest_blocks() -> None:
    """Of several marks the one without an end is told, else the one that ends last."""
    short, long, denial = a_cooldown("A", ends_in=5), a_cooldown("A", ends_in=50), a_mark("A")

    assert blocking_mark(a_provider("A"), ALL, marks_of(short, long), NOON) == long
    assert blocking_mark(a_provider("A"), ALL, marks_of(denial, long), NOON) == denial
    assert blocking_mark(a_provider("A"), ALL, marks_of(short, long), NOON + seconds(10)) == long
    assert blocking_mark(a_provider("B"), ALL, marks_of(short), NOON) is None


def test_recovery_sorts_the_soonest_first() -> None:
    """R7: a cool-down that ends sooner comes first, a denial last."""
    marks = [a_mark("A"), a_cooldown("B", ends_in=50), a_cooldown("C", ends_in=5)]

    assert [mark.provider_id for mark in sorted(marks, key=recovery_order)] == ["c", "b", "a"]


def test_a_mark_of_another_scope_does_not_block() -> None:
    """A scoped mark concerns messages in its scope; one without a scope concerns all."""
    scoped = marks_of(a_mark("A", scope="country:NG"))

    assert blocking_mark(a_provider("A"), frozenset({"", "country:KE"}), scoped, NOON) is None
    assert blocking_mark(a_provider("A"), frozenset({"", "country:NG"}), scoped, NOON) is not None
    assert blocking_mark(a_provider("A"), frozenset({"", "country:NG"}), marks_of(a_mark("A")), NOON) is not None


@pytest.mark.parametrize(
    ("content", "chain_sender", "scopes"),
    [
        (an_email(), None, {"", "sender:shop@example.com"}),
        (an_email(sender=None), Address(email="project@example.com"), {"", "sender:project@example.com"}),
        (an_email(), Address(email="project@example.com"), {"", "sender:shop@example.com"}),
        (an_email(sender=None), None, {"", "sender:"}),
        (an_sms(), None, {"", "country:NG", "sender:Shop"}),
        (an_sms(to="+15005550002"), None, {"", "country:US", "sender:Shop"}),
        (an_sms(sender=""), "+15005550006", {"", "country:NG", "sender:+15005550006"}),
        (an_sms(sender="", to="+14155550100"), None, {"", "country:US", "sender:"}),
        (an_sms(sender="", to="+14165550100"), None, {"", "country:CA", "sender:"}),
    ],
)
def test_the_scopes_of_a_message(content, chain_sender, scopes: set[str]) -> None:
    """A message is in the scope of all, of its sender (its own, else the project's), of its number's country."""
    assert scopes_of(a_message(content=content), a_chain(sender=chain_sender)) == scopes


@pytest.mark.parametrize(
    ("until", "probed", "due"),
    [(-1, None, True), (0, None, True), (1, None, False), (-1, 5, False), (-9, -5, True), (5, -1, False)],
)
def test_when_a_probe_is_due(until: float, probed: float | None, due: bool) -> None:
    """R7: from its time on, and while nobody else probes; until then, and during the probe, the provider is passed
    by.
    """
    end = None if probed is None else NOON + seconds(probed)
    mark = a_mark("A", block=Block.BREAKER_OPEN, until=NOON + seconds(until), probed_until=end)

    assert mark.probe_due(NOON) is due
    assert blocking_mark(a_provider("A"), ALL, marks_of(mark), NOON) == mark


def test_a_probe_waits_for_every_mark_that_is_in_the_way() -> None:
    """A provider that is open for everybody, its probe due, and cools down is not probed meanwhile."""
    opened = a_mark("A", block=Block.BREAKER_OPEN, until=NOON - seconds(1))
    cooling = a_cooldown("A", ends_in=5)

    told = blocking_mark(a_provider("A"), ALL, marks_of(opened, cooling), NOON)

    assert told == cooling
    assert not cooling.probe_due(NOON + seconds(9))


def test_an_operators_hold_wins() -> None:
    """R7: held out is passed by without any mark; held in is passed by for none."""
    marks = marks_of(a_mark("A"), a_cooldown("A"))

    out = blocking_mark(a_provider("A", hold=Hold.OUT), ALL, {}, NOON)

    assert out is not None
    assert out.block is Block.HELD
    assert blocking_mark(a_provider("A", hold=Hold.IN), ALL, marks, NOON) is None
