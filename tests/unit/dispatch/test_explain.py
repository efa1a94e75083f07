"""ExplainRoute's view is failover's view."""

from services.dispatch.explain import explain
from services.dispatch.message import State
from tests.builders import NOON, a_chain, a_cooldown, a_mark, a_message, a_provider, marks_of, seconds


def words(route) -> list[tuple[str, str]]:
    """Each step's provider and why it would be passed by."""
    return [(step.provider.name, step.skip_reason) for step in route.steps]


def test_a_healthy_chain_in_order() -> None:
    """Everybody is eligible in the message's order; the message would be SENT."""
    route = explain(a_message(preferred_provider="b"), a_chain(), {}, NOON)

    assert words(route) == [("B", ""), ("A", ""), ("C", "")]
    assert (route.state, route.reason) == (State.SENT, "")


def test_who_would_be_passed_by_and_why() -> None:
    """Marks show their reason and end; disabled providers come last."""
    chain = a_chain("A", a_provider("B", enabled=False), "C", "D")
    marks = marks_of(a_mark("A"), a_cooldown("C", ends_in=60))

    route = explain(a_message(), chain, marks, NOON)

    assert words(route) == [("A", "DENIED"), ("C", "COOLDOWN"), ("D", ""), ("B", "DISABLED")]
    assert [step.skip_until for step in route.steps] == [None, NOON + seconds(60), None, None]


def test_an_end_before_any_call() -> None:
    """What would fail before any call says its state and reason."""
    nobody = explain(a_message(), a_chain("A", providers=()), {}, NOON)
    strict = explain(a_message(preferred_provider="x", strict=True), a_chain(), {}, NOON)
    late = explain(a_message(deadline=NOON), a_chain(), {}, NOON)

    assert (nobody.state, nobody.reason) == (State.FAILED, "NO_PROVIDER")
    assert (strict.state, strict.reason) == (State.FAILED, "PREFERRED_PROVIDER_NOT_FOUND")
    assert (late.state, late.reason) == (State.EXPIRED, "DEADLINE_PASSED")


def test_nothing_is_changed_by_asking() -> None:
    """The same question has the same answer."""
    assert explain(a_message(), a_chain(), {}, NOON) == explain(a_message(), a_chain(), {}, NOON)
