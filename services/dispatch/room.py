"""How much a worker has in work, in messages and in bytes. It knows no message.

Memory follows the bytes: an email of 10 MiB is held as it was stored, as it was read, and as its provider wants it. So
bytes are bounded like places, and a message that finds no room waits in the database.
"""

import asyncio


class Room:
    """`places` messages of `max_bytes` in all; the last one taken may stand out, so none is too large for ever."""

    def __init__(self, places: int, max_bytes: int) -> None:
        self._free = places
        self._free_bytes = max_bytes
        self._taken = 0
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def places(self) -> int:
        """How many more messages may come."""
        return self._free if self._free_bytes > 0 else 0

    @property
    def bytes_left(self) -> int:
        """How many more bytes may come; 0 or less when there is no room."""
        return self._free_bytes

    def take(self, places: int, size: int = 0) -> None:
        """Somebody moves in."""
        self._free -= places
        self._free_bytes -= size
        self._taken += places
        self._empty.clear()

    def give_back(self, places: int, size: int = 0) -> None:
        """Somebody moves out."""
        self._free += places
        self._free_bytes += size
        self._taken -= places
        if not self._taken:
            self._empty.set()

    async def empty(self) -> None:
        """Returns when nobody is in."""
        await self._empty.wait()
