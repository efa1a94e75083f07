"""A line in which lanes take turns: whoever fills one lane delays no other by more than a turn. Not a queue that
anybody waits on.
"""

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairLine(Generic[T]):
    """Items by lane; within a lane first in, first out."""

    def __init__(self) -> None:
        self._lanes: dict[str, deque[T]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, item: T, lane: str = "") -> None:
        """The item stands last in its lane; a lane that was empty has its turn after all others."""
        self._lanes.setdefault(lane, deque()).append(item)
        self._count += 1

    @property
    def first(self) -> T:
        """Whose turn it is; there must be one."""
        return next(iter(self._lanes.values()))[0]

    def first_of(self, lane: str) -> T | None:
        """Who is first in a lane; None when nobody stands there."""
        items = self._lanes.get(lane)
        return items[0] if items else None

    def popleft(self) -> T:
        """Takes the first out; its lane goes behind the others."""
        lane = next(iter(self._lanes))
        items = self._lanes.pop(lane)
        item = items.popleft()
        if items:
            self._lanes[lane] = items
        self._count -= 1
        return item
