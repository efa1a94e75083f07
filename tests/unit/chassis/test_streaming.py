"""Answers on their way to a reader who reads, goes away, or does not read; with real sockets: test_admission.py."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.chassis.streaming import StreamStalled, pump, resumable


class Reader:
    """A caller who takes `room` answers and then no more."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.got: list[bytes] = []

    async def write(self, message: bytes) -> None:
        if len(self.got) >= self.room:
            await asyncio.Event().wait()
        self.got.append(message)


async def numbers(ended: list[str]) -> AsyncIterator[bytes]:
    """Answers that say where to go on from."""
    try:
        for number in range(5):
            with resumable(afterSequence=str(number)):
                yield b"%d" % number
    finally:
        ended.append("closed")


async def test_a_reader_who_reads_gets_everything():
    """Nothing is in the way of who reads."""
    reader = Reader(9)
    ended: list[str] = []
    await pump(numbers(ended), reader, 1.0)
    assert (b"".join(reader.got), ended) == (b"01234", ["closed"])


async def test_a_reader_who_stops_is_told_where_to_go_on():
    """A write that takes too long ends the stream with the place of that answer; the method has cleaned up by then."""
    reader = Reader(2)
    ended: list[str] = []
    with pytest.raises(StreamStalled) as caught:
        await pump(numbers(ended), reader, 0.01)
    assert (caught.value.metadata, reader.got, ended) == ({"afterSequence": "2"}, [b"0", b"1"], ["closed"])


async def test_a_method_that_does_not_say_where():
    """A method that knows no place, or will not end, is ended all the same."""

    async def stubborn() -> AsyncIterator[bytes]:
        while True:
            try:
                yield b"x"
            except StreamStalled:
                continue

    with pytest.raises(StreamStalled) as caught:
        await pump(stubborn(), Reader(0), 0.01)
    assert caught.value.metadata == {}


async def test_a_stream_is_closed_before_its_rpc_ends():
    """When an answer cannot be written any more, the method's clean-up has run by the time the RPC ends."""
    ended = []

    async def answers() -> AsyncIterator[bytes]:
        try:
            yield b"a"
        finally:
            ended.append("closed")

    class Gone:
        """A caller who cannot be written to."""

        async def write(self, message: bytes) -> None:
            raise ConnectionError

    gone: Any = Gone()
    stream = answers()
    with pytest.raises(ConnectionError):
        await pump(stream, gone, 1.0)
    assert ended == ["closed"]
