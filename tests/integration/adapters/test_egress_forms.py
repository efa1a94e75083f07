"""Addresses that are refused, in every notation there is, through everything that connects (reliability.md S14)."""

import asyncio
from collections.abc import Callable

import pytest

from services.adapters.egress import Egress, parse_networks
from tests.fakes.network import LOOPS, Network, network
from tests.fakes.vendor import refusing_port
from tests.integration.adapters.egress_ways import WAYS, Told, Way

# Loopback, as whoever looks for a hole would write it: all of them lead to the listener wherever they are let through.
ADDRESSES = (
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "localhost",
    "LOCALHOST",
    "0x7f000001",
    "0x7f.1",
    "127。0。0。1",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "0:0:0:0:0:ffff:127.0.0.1",
)  # fmt: skip
# Notations that the C library takes for addresses and that HTTP clients should not: no address or a refused one.
ODD = (
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "127.1",
    "127.0.1",
    "0",
    "localhost.",
    "127.0.0.1.",
    "2130706433.",
    "①②⑦.⓪.⓪.①",
    "\uff11\uff12\uff17.\uff10.\uff10.\uff11",  # full-width digits
    "ⓛocalhost",
    "intranet.",
)  # fmt: skip
# Where nobody of ours listens and nobody may knock.
ELSEWHERE = (
    "169.254.169.254", "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "0xa9fea9fe",  # metadata services
    "fd00:ec2::254", "100.100.100.200",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1",  # NAT64
    "2002:7f00:1::", "2002:a9fe:a9fe::",  # 6to4
    "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",  # Teredo
    "::127.0.0.1", "::ffff:0:127.0.0.1",  # IPv4-compatible, IPv4-translated
    "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "192.0.2.1", "198.18.0.1", "fc00::1", "fec0::1",
    "fe80::1", "fe80::1%lo", "2001:db8::1", "3fff::1", "5f00::1", "192.88.99.1",
    "224.0.0.1", "239.255.255.250", "ff02::1", "255.255.255.255", "240.0.0.1",
    "router", "bücher.test",
)  # fmt: skip
REFUSALS = {"DENIED", "CANNOT_VERIFY", "FAILED"}
NOT_REACHED = {*REFUSALS, "DEFERRED"}

both_loops = pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)


def names(played: Network) -> None:
    """A network with names in it that lead inside."""
    played.means("localhost", ["::1", "127.0.0.1"])
    played.means("LOCALHOST", ["127.0.0.1"])
    played.means("localhost.", ["127.0.0.1"])
    played.means("intranet.", ["127.0.0.1"])
    played.means("router", ["192.168.0.1", "fe80::1"])
    for name in ("bücher.test", "xn--bcher-kva.test"):
        played.means(name, ["169.254.169.254"])


async def told(way: Way, egress: Egress, hosts: tuple[str, ...], port: int) -> dict[str, Told]:
    """What one caller is told of each host, with the port left out of the words."""
    async with way.open(egress) as attempt:
        found = {host: await attempt(host, port) for host in hosts}
    return {host: each._replace(text=each.text.replace(str(port), "PORT")) for host, each in found.items()}


def refused(each: Told) -> bool:
    """Whether the egress rule is what turned it down, said in its own words."""
    told_so = "MESSAGEPIPE_EGRESS_ALLOW" in each.text or each.reason == "EgressDenied"
    return each.outcome in REFUSALS and told_so


@both_loops
@every_way
def test_no_notation_gets_in(way: Way, loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """No way of writing a refused address is connected to, and each address that is one is refused in so many words."""

    async def scenario() -> tuple[dict[str, Told], list[str], int]:
        async with way.listen("127.0.0.1", 0) as (listener, port):
            found = await told(way, Egress(), (*ADDRESSES, *ODD, *ELSEWHERE), port)
            return found, played.connected, listener.connections

    with network() as played, asyncio.Runner(loop_factory=loop) as runner:
        names(played)
        found, connected, connections = runner.run(scenario())
    assert (connected, connections) == ([], 0)
    assert [host for host in (*ADDRESSES, *ELSEWHERE) if not refused(found[host])] == []
    assert {found[host].outcome for host in ODD} <= NOT_REACHED


@both_loops
@every_way
def test_nobody_learns_which_ports_are_open(way: Way, loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """For a refused address an open and a closed port look the same: same outcome, same reason, same words."""
    hosts = (*ADDRESSES, *ODD)

    async def scenario() -> tuple[dict[str, Told], dict[str, Told]]:
        async with way.listen("127.0.0.1", 0) as (_, port):
            of_open = await told(way, Egress(), hosts, port)
        async with refusing_port() as port:
            return of_open, await told(way, Egress(), hosts, port)

    with network() as played, asyncio.Runner(loop_factory=loop) as runner:
        names(played)
        of_open, of_closed = runner.run(scenario())
    assert of_open == of_closed
    assert played.connected == []


@both_loops
@every_way
def test_the_same_notations_where_they_are_allowed(way: Way, loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Where the operator has named the network they do lead to the listener: it is the rule that keeps them out."""
    allowed = Egress(allow=parse_networks(("127.0.0.0/8", "0.0.0.0/32")))
    hosts = ("127.0.0.1", "0.0.0.0", "localhost", "LOCALHOST", "0x7f000001", "0x7f.1", "127。0。0。1")

    async def scenario() -> tuple[dict[str, Told], int]:
        async with way.listen("127.0.0.1", 0) as (listener, port):
            return await told(way, allowed, hosts, port), listener.connections

    with network() as played, asyncio.Runner(loop_factory=loop) as runner:
        names(played)
        found, connections = runner.run(scenario())
    assert {host: each.outcome for host, each in found.items()} == dict.fromkeys(hosts, way.well)
    assert connections >= len(hosts)
    assert set(played.connected) == {"127.0.0.1", "0.0.0.0"}
