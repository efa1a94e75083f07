"""The default fetch of a JWKS, over a real socket."""

import asyncio

import pytest

from services.chassis.jwks import MAX_BYTES, fetch_over_https


@pytest.fixture
async def server():
    """A raw HTTP server that plays one answer per path."""
    answers = {
        "/ok": b'HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{"keys": []}'[:-1],
        "/gone": b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        "/moved": b"HTTP/1.1 302 Found\r\nlocation: /ok\r\ncontent-length: 0\r\n\r\n",
        "/big": b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + b"x" * (MAX_BYTES + 1),
    }

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        writer.write(answers[request.split()[1].decode()])
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listening:
        host, port = listening.sockets[0].getsockname()
        yield f"http://{host}:{port}"


async def test_a_document_is_fetched(server):
    """The body comes back as bytes."""
    assert await fetch_over_https(f"{server}/ok") == b'{"keys": []'


@pytest.mark.parametrize(
    ("path", "words"), [("/gone", "answered 404"), ("/moved", "answered 302"), ("/big", "larger than 262144 bytes")]
)
async def test_anything_else_is_an_error(server, path, words):
    """An error status, a redirect, which is not followed, and an endless body are errors."""
    with pytest.raises(ValueError, match=words):
        await fetch_over_https(f"{server}{path}")
