"""R9 when the commit of a keyed accept is cut off: nobody knows what became of it, and the same key finds out."""

from collections.abc import AsyncIterator, Iterator

import asyncpg
import grpc
import pytest

from services.chassis.failpoints import FailpointSettings, arm
from tests.integration.rig import Pipe, rig

LEASE_SECONDS = 1.0


@pytest.fixture
async def pipes(database_url: str) -> AsyncIterator[list[Pipe]]:
    """Two whole services on one database, with one provider."""
    async with (
        rig(database_url, lease_seconds=LEASE_SECONDS) as one,
        rig(database_url, lease_seconds=LEASE_SECONDS) as two,
    ):
        await one.chain("A")
        yield [one, two]


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    """Nothing is armed after a test."""
    yield
    arm(FailpointSettings())


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize(
    ("point", "written"), [("accept_keyed.before_commit", False), ("accept_keyed.committed", True)]
)
async def test_a_cut_off_commit_and_the_same_key_again_are_one_message(
    pipes: list[Pipe], database_url: str, point: str, written: bool, elsewhere: bool
) -> None:
    """UNAVAILABLE, whether or not it was written; the repeat, at any dispatcher, is the one message, sent once."""
    arm(FailpointSettings(failpoints=(f"{point}:1:raise",), failpoints_allowed=True))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await pipes[0].create(idempotency_key="k")
    again = await pipes[elsewhere].create(idempotency_key="k")
    sent = await pipes[0].becomes(again.id, "SENT")
    connection = await asyncpg.connect(database_url)
    try:
        stored = [row["id"] for row in await connection.fetch("SELECT id::text FROM dispatch.messages")]
    finally:
        await connection.close()

    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert again.replayed is written
    assert stored == [again.id]
    assert sum(len(pipe.adapters["A"].calls) for pipe in pipes) == 1
    assert not sent.possible_duplicate
