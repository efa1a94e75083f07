"""SendBulkMessages over the whole service: one content, many recipients, each a message and a result of its own."""

import asyncio
from typing import Any

import grpc
import pytest
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb

from services.chassis.status import from_rpc_error
from services.dispatch import answers
from services.dispatch.intake import Intake
from tests.integration.rig import Pipe, metadata, rig


@pytest.fixture
async def pipe(database_url):
    """A messagepipe with one provider."""
    async with rig(database_url) as running:
        await running.chain("A")
        yield running


def bulk(pipe: Pipe, *recipients: str, text: str = "Hello") -> pb.SendBulkMessagesRequest:
    """One content for these recipients."""
    return pb.SendBulkMessagesRequest(message=pipe.spec(to="", text=text), recipients=recipients)


async def test_each_recipient_has_a_result(pipe: Pipe) -> None:
    """A bad recipient is refused alone; one that stands twice gets one message; the sentence counts both."""
    request = bulk(pipe, "a@example.com", "nobody", "a@example.com")

    answer = await pipe.messages.SendBulkMessages(request, metadata=metadata())

    assert (answer.message, answer.success) == ("Bulk email processed: 2 sent, 1 failed", False)
    assert [(result.recipient, result.success) for result in answer.results] == [
        ("a@example.com", True),
        ("nobody", False),
        ("a@example.com", True),
    ]
    assert answer.results[0].message_id == answer.results[2].message_id
    assert len(pipe.adapters["A"].calls) == 1


async def test_a_large_content_is_not_copied_without_end(pipe: Pipe) -> None:
    """A content of 1 MiB for 300 recipients is refused before anything is accepted, and the limit is said."""
    request = bulk(pipe, *(f"u{number}@example.com" for number in range(300)), text="x" * 1024 * 1024)

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await pipe.messages.SendBulkMessages(request, metadata=metadata())

    error = from_rpc_error(raised.value)
    assert [violation.field for violation in error.violations] == ["recipients"]
    assert "at most 255 entries" in error.message
    assert not pipe.adapters["A"].calls


async def test_whom_the_caller_s_time_does_not_suffice_for(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call is answered in time, with what was accepted and what was not, instead of being cut off."""
    check, checks = Intake.check, 0

    async def slow(self: Intake, *given: Any, **told: Any) -> Any:
        nonlocal checks
        checks += 1
        await asyncio.sleep(0.1)
        return await check(self, *given, **told)

    monkeypatch.setattr(Intake, "check", slow)
    monkeypatch.setattr(answers, "MARGIN", 1.0)
    recipients = [f"u{number}@example.com" for number in range(40)]
    request = pb.SendBulkMessagesRequest(message=pipe.spec(to=""), recipients=recipients)
    answer = await pipe.messages.SendBulkMessages(request, metadata=metadata(), timeout=2.5)
    late = [each for each in answer.results if "time was over before" in each.error]
    assert [each.message_id for each in late] == [""] * len(late)
    assert 0 < checks == len(recipients) - len(late) < 20
