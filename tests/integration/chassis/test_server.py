"""A server starts on a free port or says why not, is found by reflection, and drains."""

import asyncio
import socket
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services.chassis.server import PortBusy, serve
from tests.integration.chassis.echo import NAME, Echo

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def health_stub(channel: grpc.aio.Channel) -> Any:
    """The published stubs lack the methods that grpcio-health-checking adds at run time."""
    return health_pb2_grpc.HealthStub(channel)


async def health_of(channel: grpc.aio.Channel, name: str = "") -> int:
    """What the health service says about `name`."""
    answer = await health_stub(channel).Check(health_pb2.HealthCheckRequest(service=name))
    return int(answer.status)


def method_of(channel: grpc.aio.Channel, name: str) -> Any:
    """A unary method over plain bytes."""
    return channel.unary_unary(f"/{NAME}/{name}")


async def rest_of(call: Any) -> grpc.StatusCode:
    """Reads a stream to its end, however it ends, and says how."""
    while True:
        try:
            if await call.read() is grpc.aio.EOF:
                break
        except (grpc.aio.AioRpcError, asyncio.CancelledError):
            break
    code: grpc.StatusCode = await call.code()
    return code


async def test_reflection_lists_the_services(rig):
    """Without a token, reflection names our service, health and itself."""
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(rig.channel)
    async for answer in stub.ServerReflectionInfo(iter([ask])):
        names = {service.name for service in answer.list_services_response.service}
        assert names == {NAME, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
        break


async def test_a_taken_port_is_one_clear_line(rig):
    """A second server on the same port is refused in one line with address and reason; ports are never shared."""
    with pytest.raises(PortBusy) as caught:
        async with serve(Echo().register, host="127.0.0.1", port=rig.server.port, names=[NAME]):
            pytest.fail("two servers on one port")
    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1:{rig.server.port}: address already in use; "
        "choose another port or stop what uses it"
    )


async def test_a_port_taken_by_another_program_is_refused():
    """It does not matter who has the port."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(PortBusy, match="address already in use"):
            async with serve(host="127.0.0.1", port=other.getsockname()[1], names=[]):
                pytest.fail("two programs on one port")


async def test_a_foreign_address_says_so():
    """An address that is not this machine's is another reason than a busy port."""
    with pytest.raises(PortBusy, match="cannot assign requested address"):
        async with serve(host="192.0.2.1", port=50999, names=[]):
            pytest.fail("listening on somebody else's address")


async def test_health_follows_the_service(rig):
    """A service can say that it does not serve, and that it does again; unknown names are NOT_FOUND."""
    assert await health_of(rig.channel, NAME) == SERVING
    await rig.server.set_serving(NAME, False)
    assert (await health_of(rig.channel, NAME), await health_of(rig.channel)) == (NOT_SERVING, SERVING)
    await rig.server.set_serving(NAME, True)
    assert await health_of(rig.channel, NAME) == SERVING
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await health_of(rig.channel, "nobody")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_draining_finishes_what_runs_and_takes_nothing_new(rig):
    """While draining, watchers of health hear NOT_SERVING, new calls are UNAVAILABLE, and the open call ends well."""
    watch = health_stub(rig.channel).Watch(health_pb2.HealthCheckRequest(service=NAME))
    assert (await watch.read()).status == SERVING
    open_call = rig.unary()(b"wait", metadata=rig.headers())
    await asyncio.sleep(0.05)
    draining = asyncio.create_task(rig.server.drain(20))
    assert (await watch.read()).status == NOT_SERVING
    watch.cancel()
    await asyncio.sleep(0.05)
    async with grpc.aio.insecure_channel(rig.server.address) as late:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await method_of(late, "One")(b"x", metadata=rig.headers(), timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert not draining.done()
    rig.service.release.set()
    assert await open_call == b"ada:wait"
    async with asyncio.timeout(5):
        await draining
        await rig.server.wait()


async def test_the_grace_has_an_end(rig):
    """A call that outlives the grace is cut off, and drain returns; draining twice is the same as once."""
    open_call = rig.stream()(b"wait", metadata=rig.headers())
    assert await open_call.read() == b"ada0"
    async with asyncio.timeout(5):
        await asyncio.gather(rig.server.drain(0.1), rig.server.drain(60))
    assert await rest_of(open_call) in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    assert rig.service.ended == ["cancelled", "many"]


async def test_a_message_over_the_limit_is_refused():
    """One byte over max_receive_bytes is RESOURCE_EXHAUSTED before the method sees it."""
    async with (
        serve(Echo().register, host="127.0.0.1", port=0, names=[NAME], max_receive_bytes=1000) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        write: Any = channel.unary_stream(f"/{NAME}/Write")
        assert [len(each) async for each in write(b"x" * 1000)] == [1, 1000]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await write(b"x" * 1001).read()
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_metadata_over_16_kib_is_refused(rig):
    """Headers over 16 KiB are refused; a token of the largest size we accept is not."""
    headers = (*rig.headers(), ("x-more", "y" * 8000))
    assert await rig.unary()(b"x", metadata=headers) == b"ada:x"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await rig.unary()(b"x", metadata=(*headers, ("x-again", "z" * 9000)))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_ipv6():
    """An IPv6 host is listened on and shown in brackets."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    async with serve(host="::1", port=0, names=[]) as server:
        assert server.address == f"[::1]:{server.port}"
        async with grpc.aio.insecure_channel(server.address) as channel:
            assert await health_of(channel) == SERVING
