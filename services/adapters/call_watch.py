"""Who watches the calls that adapters make over HTTP, while one is under way. It never changes a call, and adds nothing
to it: no provider is told of our traces.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Protocol


class Watched(Protocol):
    """One call that is under way."""

    def answered(self, status: int) -> None:
        """The provider answered with this status."""

    def failed(self, kind: str) -> None:
        """No answer came; `kind` is the class of the error, never its text."""


class _Unwatched:
    def answered(self, status: int) -> None:
        return None

    def failed(self, kind: str) -> None:
        return None


WatchCall = Callable[[str, str, int | None], AbstractContextManager[Watched]]
"""Told of each call when it begins: its method, the host and the port."""

current_watch: ContextVar[WatchCall | None] = ContextVar("current_watch", default=None)
_UNWATCHED: AbstractContextManager[Watched] = nullcontext(_Unwatched())


def watched(method: str, host: str, port: int | None) -> AbstractContextManager[Watched]:
    """The call for the length of the block."""
    watch = current_watch.get()
    return _UNWATCHED if watch is None else watch(method, host, port)
