"""A name server of the test's own, and a witness of every connect(), both at the lowest level that Python has. Not a
network: what is connected to is real.
"""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvloop

Info = tuple[Any, ...]


@dataclass(slots=True)
class Network:
    """What names mean: a list of answers each, of which the last one stays. Keeps who was asked for and connected to.

    A name that is not listed does not exist; numbers in any notation mean what the C library says.
    """

    names: dict[str, list[list[str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    connected: list[str] = field(default_factory=list)

    def means(self, name: str, *answers: list[str]) -> None:
        """The name server gives these answers, one after the other."""
        self.names[name] = list(answers)

    def look_up(self, ask: Callable[..., list[Info]], host: Any, port: Any, *args: Any, **kwargs: Any) -> list[Info]:
        """getaddrinfo() by our names; `ask` is the real one, which gets numbers only."""
        name = host.decode() if isinstance(host, bytes) else host
        if name not in self.names:
            return ask(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        self.asked.append(name)
        answers = self.names[name]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        found = (ask(ip, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST) for ip in answer)
        return [info for infos in found for info in infos]


@contextmanager
def network() -> Iterator[Network]:
    """Have this process ask our names and tell whom it connects to."""
    played = Network()
    real_look_up, real_connect = socket.getaddrinfo, socket.socket.connect

    def look_up(host: Any, port: Any, *args: Any, **kwargs: Any) -> list[Info]:
        return played.look_up(real_look_up, host, port, *args, **kwargs)

    def connect(self: socket.socket, address: Any) -> None:
        played.connected.append(str(address[0]))
        real_connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", look_up)
        patch.setattr(socket.socket, "connect", connect)
        yield played


class _Uvloop(uvloop.Loop):
    """uvloop asks the C library by itself; this one asks through Python, as asyncio does, so that our names count."""

    async def getaddrinfo(self, host: Any, port: Any, **kwargs: Any) -> list[Info]:
        return await self.run_in_executor(None, lambda: socket.getaddrinfo(host, port, **kwargs))


# The loops we run on: uvloop where it can be had, which is in every container of ours.
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop, "uvloop": _Uvloop}
