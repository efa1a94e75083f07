"""Every RPC, of every shape: the token is asked for, errors arrive rich, crashes say nothing, one line is logged."""

import asyncio
import json
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.chassis.errors import (
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    ServiceError,
    Unauthenticated,
)
from services.chassis.status import from_rpc_error
from tests.integration.chassis.echo import NAME


async def error_of(call: Any) -> ServiceError:
    """What the caller gets as an error, read from the rich status."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await finished(call)
    return from_rpc_error(caught.value)


async def finished(call: Any) -> None:
    """Waits for the answer, or for the last of them."""
    if hasattr(call, "__aiter__"):
        async for _ in call:
            pass
    else:
        await call


def rpc_lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """The log lines so far."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


async def test_every_shape_of_method_works_and_knows_its_caller(rig):
    """Unary and streaming methods, by generator or by writing, run as the token's subject."""
    headers = rig.headers()
    assert await rig.unary()(b"x", metadata=headers) == b"ada:x"
    assert [each async for each in rig.stream()(b"x", metadata=headers)] == [b"ada0", b"ada1", b"ada2"]
    assert [each async for each in rig.stream("Write")(b"x", metadata=headers)] == [b"a", b"x"]
    gather = rig.channel.stream_unary(f"/{NAME}/Gather")
    assert await gather(iter([b"a", b"b"]), metadata=headers) == b"a,b"
    chat = rig.channel.stream_stream(f"/{NAME}/Chat")
    assert [each async for each in chat(iter([b"a", b"b"]), metadata=headers)] == [b"ada:a", b"ada:b"]


async def test_concurrent_callers_are_not_mixed_up(rig):
    """A hundred calls at once each see their own principal."""
    answers = await asyncio.gather(*(rig.unary()(b"x", metadata=rig.headers(subject=f"s{n}")) for n in range(100)))
    assert answers == [b"s%d:x" % n for n in range(100)]


@pytest.mark.parametrize("shape", ["One", "Many", "Chat"])
async def test_without_a_token_nothing_runs(rig, shape):
    """No token is UNAUTHENTICATED with TOKEN_MISSING on every shape of method."""
    calls = {
        "One": lambda: rig.unary()(b"x"),
        "Many": lambda: rig.stream()(b"x"),
        # Nothing is sent: a grpc.aio client whose write meets the end of the call makes up an INTERNAL of its own.
        "Chat": rig.channel.stream_stream(f"/{NAME}/Chat"),
    }
    error = await error_of(calls[shape]())
    assert (type(error), error.reason) == (Unauthenticated, "TOKEN_MISSING")
    assert rig.service.ended == []


async def test_a_forged_token_is_refused(rig):
    """A token with a wrong signature is TOKEN_INVALID."""
    forged = rig.token()[:-4] + "AAAA"
    error = await error_of(rig.unary()(b"x", metadata=(("authorization", f"Bearer {forged}"),)))
    assert error.reason == "TOKEN_INVALID"


async def test_a_missing_scope_is_named(rig):
    """Without the method's scope the answer is PERMISSION_DENIED and says which scope is missing."""
    error = await error_of(rig.unary()(b"x", metadata=rig.headers(scopes=("config:read",))))
    assert (type(error), error.reason, error.metadata) == (
        PermissionDenied,
        "SCOPE_MISSING",
        {"scope": "messages:read"},
    )


@pytest.mark.parametrize("method", ["Check", "Watch"])
async def test_bytes_that_are_no_request_are_the_caller_s_mistake(rig, capsys, method):
    """Broken protobuf and text that is not UTF-8 are INVALID_ARGUMENT, and no trace fills the log."""
    for broken in (b"\xff\xff\xff", b"\x0a\x04\xff\xfe\xfd\xfc"):
        make = rig.channel.unary_stream if method == "Watch" else rig.channel.unary_unary
        error = await error_of(make(f"/grpc.health.v1.Health/{method}")(broken))
        assert (type(error), error.reason) == (InvalidArgument, "INVALID_ARGUMENT")
        assert "UTF-8" in error.message
    assert "Traceback" not in capsys.readouterr().err


async def test_a_method_without_a_declared_scope_is_closed(rig):
    """A method that the table does not know is refused to everybody."""
    every = rig.headers(scopes=("config:read", "config:write", "messages:send", "messages:read", "internal"))
    error = await error_of(rig.unary("Undeclared")(b"x", metadata=every))
    assert (type(error), error.reason) == (PermissionDenied, "SCOPE_MISSING")


async def test_an_unknown_method_is_unimplemented(rig):
    """A method that does not exist is gRPC's own UNIMPLEMENTED."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await rig.unary("Nothing")(b"x", metadata=rig.headers())
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("method", ["unary", "stream"])
async def test_service_errors_arrive_rich(rig, method):
    """Reason, metadata, all violations and the delay arrive, from unary methods and in the middle of streams."""
    call = getattr(rig, method)()
    missing = await error_of(call(b"missing", metadata=rig.headers()))
    assert (type(missing), missing.reason, missing.metadata, missing.message) == (
        NotFound,
        "THING_NOT_FOUND",
        {"thingId": "t1"},
        "No such thing.",
    )
    wrong = await error_of(call(b"wrong", metadata=rig.headers()))
    assert isinstance(wrong, InvalidArgument)
    assert [(each.field, each.description) for each in wrong.violations] == [
        ("a", "is required"),
        ("b[2]", "is too long"),
    ]
    busy = await error_of(call(b"busy", metadata=rig.headers()))
    assert (type(busy), busy.retry_after) == (ResourceExhausted, 2.5)


async def test_2000_violations_still_arrive_as_an_error_of_the_caller(rig):
    """A status too large for a client's header limit is cut, not turned into RESOURCE_EXHAUSTED by the client."""
    huge = await error_of(rig.unary()(b"huge", metadata=rig.headers()))
    assert isinstance(huge, InvalidArgument)
    assert huge.violations[-1].description.endswith("more violations")


@pytest.mark.parametrize("method", ["unary", "stream"])
async def test_a_crash_says_nothing_to_the_caller_and_all_to_the_log(rig, capsys, method):
    """An unexpected exception is INTERNAL with the fixed sentence; the log has the traceback, without the address."""
    error = await error_of(getattr(rig, method)()(b"crash", metadata=rig.headers()))
    assert isinstance(error, Internal)
    assert error.message == "Internal error; the operators have been told."
    lines = rpc_lines(capsys)
    (crash,) = (line for line in lines if line["event"] == "rpc_crashed")
    assert "RuntimeError: no mailbox <address>" in str(crash["exception"])
    assert crash["request_id"] == error.metadata["requestId"]


async def test_a_method_may_still_abort_by_itself(rig):
    """What a method answers through its context is passed on untouched."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await rig.unary()(b"abort", metadata=rig.headers())
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.ABORTED, "by hand")


async def test_a_stream_ends_with_its_token(rig):
    """S05: a stream opened with a 1 s token ends with TOKEN_EXPIRED about then, and its method is cleaned up."""
    async with asyncio.timeout(10):
        error = await error_of(rig.stream()(b"wait", metadata=rig.headers(ttl=1)))
        assert (type(error), error.reason) == (Unauthenticated, "TOKEN_EXPIRED")
        while rig.service.ended != ["cancelled", "many"]:
            await asyncio.sleep(0.01)


async def test_an_unary_call_may_outlive_its_token(rig):
    """What was begun with a good token is finished: a unary call is not cut off in the middle."""
    call = rig.unary()(b"wait", metadata=rig.headers(ttl=1))
    await asyncio.sleep(1.3)
    rig.service.release.set()
    assert await call == b"ada:wait"


async def test_a_caller_who_leaves_cancels_the_method(rig, capsys):
    """When the caller hangs up the method is cancelled, cleans up, and the line says CANCELLED."""
    call = rig.stream()(b"wait", metadata=rig.headers())
    assert await call.read() == b"ada0"
    async with asyncio.timeout(5):
        await rig.service.many_waits.wait()
        call.cancel()
        await rig.service.many_ended.wait()
        await rig.server.drain(1)
    (line,) = rpc_lines(capsys)
    assert (line["event"], line["code"]) == ("rpc", "CANCELLED")
    assert rig.service.ended == ["cancelled", "many"]


async def test_one_line_per_rpc(rig, capsys):
    """Each RPC is one line with method, code, duration and the caller's request id; nothing of its content."""
    headers = (*rig.headers(), ("x-request-id", "req-1"))
    await rig.unary()(b"x", metadata=headers)
    await error_of(rig.unary()(b"missing", metadata=rig.headers()))
    await error_of(rig.unary()(b"abort", metadata=rig.headers()))
    lines = rpc_lines(capsys)
    assert [(line["event"], line["method"], line["code"]) for line in lines] == [
        ("rpc", f"/{NAME}/One", "OK"),
        ("rpc", f"/{NAME}/One", "NOT_FOUND"),
        ("rpc", f"/{NAME}/One", "ABORTED"),
    ]
    assert lines[0]["request_id"] == "req-1"
    assert len(str(lines[1]["request_id"])) == 32
    assert all(isinstance(line["duration_ms"], float) for line in lines)


async def test_a_strange_request_id_is_replaced(rig, capsys):
    """A request id that is too long, or not plain, does not get into the log."""
    for strange in ("x" * 129, "a b", "<script>"):
        await rig.unary()(b"x", metadata=(*rig.headers(), ("x-request-id", strange)))
    assert all(len(str(line["request_id"])) == 32 for line in rpc_lines(capsys))


async def test_health_needs_no_token_and_no_line(rig, capsys):
    """Probes are answered without a token and do not fill the log."""
    stub: Any = health_pb2_grpc.HealthStub(rig.channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=NAME))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert rpc_lines(capsys) == []
