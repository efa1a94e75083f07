"""How long to wait before the same provider is asked again. Not whether it is: that is failover.py."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential backoff with full jitter (failover.md R3): uniform between 0 and min(cap, base · factorⁿ⁻¹), in
    seconds.
    """

    base: float = 1.0
    factor: float = 2.0
    cap: float = 30.0

    def ceiling(self, tries: int) -> float:
        """The longest wait after the `tries`-th try, in seconds."""
        # The exponent is bounded so that a large count can not overflow; the cap holds long before that.
        return min(self.cap, self.base * self.factor ** min(tries - 1, 64))

    def delay(self, tries: int, fraction: float) -> float:
        """The wait after the `tries`-th try; `fraction` in [0, 1) is the jitter."""
        return self.ceiling(tries) * fraction


DEFAULT_BACKOFF = Backoff()
