"""The arithmetic of measuring: medians, noise, ratios, percentiles, and the schedule of an open loop. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What several runs gave: the median, and the lowest and highest of them, which is the noise."""

    median: float
    low: float
    high: float
    runs: tuple[float, ...]

    @classmethod
    def of(cls, runs: Sequence[float]) -> "Figure":
        """The figure of one or more runs."""
        if not runs:
            raise ValueError("a figure needs a run")
        return cls(median=median(runs), low=min(runs), high=max(runs), runs=tuple(runs))


def ratios(measured: Sequence[float], limits: Sequence[float]) -> tuple[float, ...]:
    """Each run beside the limit measured just before it: what slowed the machine down slowed both."""
    return tuple(one / limit if limit else math.inf for one, limit in zip(measured, limits, strict=True))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share (0 to 1) of them does not exceed; 0 of none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def schedule(rate: float, seconds: float) -> tuple[float, ...]:
    """When an open loop sends, in seconds from its start: evenly, fixed beforehand, whatever the answers do."""
    return tuple(place / rate for place in range(int(rate * seconds)))


def spread(latencies: Sequence[float]) -> Mapping[str, float]:
    """p50 and p99 in milliseconds, of latencies in seconds."""
    return {"p50_ms": percentile(latencies, 0.5) * 1000, "p99_ms": percentile(latencies, 0.99) * 1000}


class Portions:
    """Deals out answers by their shares, evenly: of 0.3 and 0.7 the first comes up in three of any ten."""

    def __init__(self, shares: Mapping[int, float]) -> None:
        total = sum(shares.values())
        self._shares = {answer: share / total for answer, share in shares.items()}
        self._due = dict.fromkeys(shares, 0.0)

    def next(self) -> int:
        """The answer that is most overdue."""
        for answer, share in self._shares.items():
            self._due[answer] += share
        chosen = max(self._due, key=self._due.__getitem__)
        self._due[chosen] -= 1
        return chosen
