"""What an attempt teaches about a provider, and whom that passes by."""

import pytest

from services.adapters.base import Address
from services.adapters.outcome import Outcome, Reason
from services.dispatch.health import Block, blocking_mark, mark_from, recovery_order, scopes_of
from tests.builders import (
    NOON,
    a_chain,
    a_cooldown,
    a_mark,
    a_message,
    a_provider,
    a_result,
    an_email,
    an_sms,
    marks_of,
    seconds,
    throttled,
)

ALL = frozenset({""})


def test_denied_marks_without_an_end() -> None:
    """R7: a denial marks that version of the provider at once, keeps reason and words, and ends by itself never."""
    provider = a_provider("A", version=4)

    mark = mark_from(provider, a_result("denied", provider_text="suspended", scope="country:NG"), NOON, ALL)

    assert mark == a_mark(provider, detail="suspended", scope="country:NG")
    assert mark is not None
    assert (mark.block, mark.config_version, mark.until) == (Block.DENIED, 4, None)


def test_a_429_cools_down_for_as_long_as_it_asks() -> None:
    """X08: RATE_LIMITED with Retry-After marks until then."""
    assert mark_from(a_provider(), throttled(600), NOON, ALL) == a_cooldown("A", ends_in=600)


@pytest.mark.parametrize(
    "result",
    [
        a_result("accepted"),
        a_result("invalid"),
        a_result("unfit"),
        a_result("unknown"),
        a_result("deferred"),
        a_result("deferred", reason=Reason.RATE_LIMITED),
        a_result("deferred", reason=Reason.RATE_LIMITED, retry_after=0.0),
        a_result("deferred", reason=Reason.UNAVAILABLE, retry_after=600),
    ],
    ids=lambda result: f"{result.outcome}-{result.reason}-{result.retry_after}",
)
def test_nothing_else_marks(result) -> None:
    """X16: invalid and unfit never touch health; a deferral marks only when it is a 429 that says how long."""
    assert mark_from(a_provider(), result, NOON, ALL) is None


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


@pytest.mark.parametrize("own", [True, False], ids=["its own", "the provider's"])
def test_a_denied_sender_passes_by_the_messages_that_use_it(own: bool) -> None:
    """Denied for one sender, however the adapter spells it, skips the messages of that sender, those without one being
    sent as the provider's own; a message from somebody else is not in that scope.
    """
    content = an_email() if own else an_email(sender=None)
    scopes, others = (
        scopes_of(a_message(content=each), a_chain())
        for each in (content, an_email(sender=Address(email="other@example.com")))
    )
    denied = a_result("denied", scope="sender:Noreply@xn--bcher-kva.example")

    mark = mark_from(a_provider("A"), denied, NOON, scopes)

    assert mark is not None
    assert blocking_mark(a_provider("A"), scopes, marks_of(mark), NOON) == mark
    assert blocking_mark(a_provider("A"), others, marks_of(mark), NOON) is None


def test_every_outcome_is_considered() -> None:
    """Only DENIED and DEFERRED can mark: a new outcome would have to be decided here."""
    marking = {
        outcome
        for outcome in Outcome
        if mark_from(a_provider(), a_result(outcome, reason=Reason.RATE_LIMITED, retry_after=1), NOON, ALL)
    }

    assert marking == {Outcome.DENIED, Outcome.DEFERRED}
