"""The header that carries the token; everything else about RPCs is tested against a real server."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.chassis.errors import Unauthenticated
from services.chassis.interceptors import _pump, bearer_token


@pytest.mark.parametrize(
    ("metadata", "token"),
    [
        ([], ""),
        ([("x-other", "Bearer a")], ""),
        ([("authorization", "Bearer abc")], "abc"),
        ([("authorization", "bearer  abc")], "abc"),
        ([("authorization", "Bearer")], ""),
    ],
)
def test_the_bearer_token(metadata, token):
    """The scheme's case does not matter, and no header is no token."""
    assert bearer_token(metadata) == token


@pytest.mark.parametrize(
    "metadata",
    [
        [("authorization", "Basic abc")],
        [("authorization", "abc")],
        [("authorization", "Bearer a"), ("authorization", "Bearer b")],
    ],
)
def test_ambiguous_headers_are_refused(metadata):
    """Another scheme, or two headers, is an invalid token and not a missing one."""
    with pytest.raises(Unauthenticated) as caught:
        bearer_token(metadata)
    assert caught.value.reason == "TOKEN_INVALID"


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
        await _pump(stream, gone)
    assert ended == ["closed"]
