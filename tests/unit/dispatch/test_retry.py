"""Backoff: exponential, capped, fully jittered (R3)."""

from hypothesis import given
from hypothesis import strategies as st

from services.dispatch.retry import DEFAULT_BACKOFF, Backoff

backoffs = st.builds(Backoff, base=st.floats(0.01, 100), factor=st.floats(1, 10), cap=st.floats(0.01, 1000))


def test_the_default_is_the_rule() -> None:
    """R3: base 1 s, factor 2, cap 30 s."""
    assert [DEFAULT_BACKOFF.ceiling(tries) for tries in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]


def test_full_jitter() -> None:
    """R3: the wait is uniform from nothing to the ceiling."""
    assert [DEFAULT_BACKOFF.delay(3, fraction) for fraction in (0.0, 0.25, 0.5, 0.99)] == [0.0, 1.0, 2.0, 3.96]


@given(backoffs, st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_wait_is_between_nothing_and_the_cap(backoff: Backoff, tries: int, fraction: float) -> None:
    """However many tries were made, the wait is never negative and never above the cap, and nothing overflows."""
    assert 0 <= backoff.delay(tries, fraction) <= backoff.ceiling(tries) <= backoff.cap


@given(backoffs, st.integers(1, 200))
def test_the_ceiling_never_falls(backoff: Backoff, tries: int) -> None:
    """The longest wait after one more try is at least as long."""
    assert backoff.ceiling(tries) <= backoff.ceiling(tries + 1)
