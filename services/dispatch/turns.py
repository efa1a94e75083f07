"""How the places of a process are shared between projects: pure rules and a count. Not which messages are taken
(claim_book.py).

A tenth of the places is a rest that is kept for projects that hold little. Of the others a project may take one while
it holds less than `MOST` times what is free of them: alone it so gets eight ninths of them, two get eight seventeenths
each, and whoever comes next finds something.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MOST = 8
REST, LITTLE = 10, 100


def room(held: int, free: int, total: int) -> int:
    """How many more places a project that holds `held` may take while `free` of `total` are free."""
    rest = max(total // REST, 1) if total > 1 else 0
    shared = max(free - rest, 0)
    # The k-th is allowed while held + k - 1 < MOST * (shared - k + 1).
    most = -((held - MOST * shared) // (MOST + 1))
    little = min(max(total // LITTLE, 1) - held, free)
    return max(most, little, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """What one claim may take: at most `limit` messages, of a project that holds places at most its `rooms`, and none
    more once they hold `max_bytes` together.
    """

    limit: int
    max_bytes: int = 32 * 1024 * 1024
    held: Mapping[str, int] = field(default_factory=dict)
    rooms: Mapping[str, int] = field(default_factory=dict)

    def used_up_by(self, brought: Sequence[tuple[str, int]]) -> bool:
        """Whether a claim that brought messages of these projects and sizes might have brought more with more room."""
        taken = Counter(project_id for project_id, _ in brought)
        full = any(taken[project_id] >= room for project_id, room in self.rooms.items())
        return full or len(brought) >= self.limit or sum(size for _, size in brought) >= self.max_bytes


class Places:
    """How many messages are in work in this process, in all and by project."""

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._held: dict[str, int] = {}

    @property
    def taken(self) -> int:
        """Places that are taken or kept for a claim."""
        return self._total - self._free

    def take(self, project_id: str) -> bool:
        """A place for a message of a project, unless it must leave what is free to others."""
        if not self._room(self._held.get(project_id, 0)):
            return False
        self._free -= 1
        self._hold(project_id)
        return True

    def give_back(self, project_id: str) -> None:
        """A message of the project is in work no more."""
        self._free += 1
        self._held[project_id] -= 1
        if not self._held[project_id]:
            del self._held[project_id]

    def keep(self, most: int, most_bytes: int) -> Turns:
        """Places for a claim of at most `most` messages; they are kept until `settle`."""
        limit = min(self._room(0), most)
        rooms = {project: self._room(held) for project, held in self._held.items()}
        turns = Turns(limit=limit, max_bytes=most_bytes if limit else 0, held=dict(self._held), rooms=rooms)
        self._free -= limit
        return turns

    def settle(self, turns: Turns, projects: list[str]) -> None:
        """The claim brought messages of these projects; the other places are free again."""
        self._free += turns.limit - len(projects)
        for project_id in projects:
            self._hold(project_id)

    def _room(self, held: int) -> int:
        return room(held, self._free, self._total)

    def _hold(self, project_id: str) -> None:
        self._held[project_id] = self._held.get(project_id, 0) + 1
