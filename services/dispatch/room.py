"""How much a worker has in work, in messages and in bytes. It knows no message. How projects share the places is
turns.py's.

Memory follows the bytes: an email of 10 MiB is held as it was stored, as it was read, and as its provider wants it. So
bytes are bounded like places, and a message that finds no room waits in the database.
"""

import asyncio
from collections.abc import Sequence

from services.dispatch.turns import Places, Turns


class Room:
    """`places` messages of `max_bytes` in all; the last one taken may stand out, so none is too large for ever."""

    def __init__(self, places: int, max_bytes: int) -> None:
        self._places = Places(places)
        self._free_bytes = max_bytes
        self._empty = asyncio.Event()
        self._empty.set()

    def take(self, project_id: str, size: int) -> bool:
        """A place for a message of a project and so many bytes, if there is one."""
        if self._free_bytes <= 0 or not self._places.take(project_id):
            return False
        self._free_bytes -= size
        self._note()
        return True

    def give_back(self, project_id: str, size: int) -> None:
        """A message of the project is in work no more."""
        self._places.give_back(project_id)
        self._free_bytes += size
        self._note()

    def keep(self, most: int, most_bytes: int) -> Turns:
        """Room for a claim of at most `most` messages and `most_bytes`; it is kept until `settle`."""
        turns = self._places.keep(most if self._free_bytes > 0 else 0, min(self._free_bytes, most_bytes))
        self._free_bytes -= turns.max_bytes
        self._note()
        return turns

    def settle(self, turns: Turns, claims: Sequence[tuple[str, int]]) -> None:
        """The claim brought messages of these projects and sizes; what else was kept is free again."""
        self._places.settle(turns, [project_id for project_id, _ in claims])
        self._free_bytes += turns.max_bytes - sum(size for _, size in claims)
        self._note()

    async def empty(self) -> None:
        """Returns when nobody is in."""
        await self._empty.wait()

    def _note(self) -> None:
        if self._places.taken:
            self._empty.clear()
        else:
            self._empty.set()
