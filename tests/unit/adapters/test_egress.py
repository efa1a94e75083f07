"""Which addresses may be connected to."""

import socket
import ssl
from contextlib import nullcontext

import pytest

from services.adapters.egress import Egress, EgressDenied, Progress, current_progress, parse_networks, tls_context

REFUSED = [
    "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1",
    "fec0::1", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::",
    "2001::1", "2001:db8::1", "3fff::1", "5f00::1", "192.88.99.1",
    "", "localhost", "127.1", "0x7f000001",
]  # fmt: skip


@pytest.mark.parametrize("address", REFUSED)
def test_refused(address: str) -> None:
    """Whatever is not a public unicast address is refused, whichever way it is wrapped (reliability.md S14)."""
    with pytest.raises(EgressDenied):
        Egress().check(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_public(address: str) -> None:
    """Public addresses need no permission."""
    Egress().check(address)


@pytest.mark.parametrize(("port", "allowed"), [(443, True), (587, True), (6379, False), (22, False), (0, False)])
def test_ports(port: int, allowed: bool) -> None:
    """Of public addresses only the ports of mail and web services, of a network that is named any (S14)."""
    named = Egress(allow=parse_networks(("8.8.8.0/24",)))
    named.check("8.8.8.8", port)
    with nullcontext() if allowed else pytest.raises(EgressDenied):
        Egress().check("8.8.8.8", port)


def test_named_networks() -> None:
    """A network the operator names is allowed, its IPv4-mapped form too, and nothing beside it."""
    egress = Egress(allow=parse_networks(("127.0.0.0/8", "fc00::/7")))
    for address in ("127.0.0.1", "::ffff:127.0.0.1", "fc00::1"):
        egress.check(address)
    for address in ("10.0.0.1", "::1", "2002:7f00:1::"):
        with pytest.raises(EgressDenied):
            egress.check(address)


def test_bad_networks() -> None:
    """Every word that is no network is named."""
    with pytest.raises(ValueError, match=r"'x'.*'10\.0\.0\.0/99'"):
        parse_networks(("10.0.0.0/8", "x", "10.0.0.0/99"))


def test_no_socket_for_a_refused_address() -> None:
    """A refused address gets no socket, and the call in progress knows why."""
    progress = Progress()
    token = current_progress.set(progress)
    with pytest.raises(EgressDenied):
        Egress().open_socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 25)))
    current_progress.reset(token)
    assert progress.refused


def test_certificates_are_verified() -> None:
    """The TLS context verifies certificates and names unless told not to."""
    assert (tls_context().verify_mode, tls_context().check_hostname) == (ssl.CERT_REQUIRED, True)
    assert tls_context(verify=False).verify_mode is ssl.CERT_NONE
    assert tls_context().minimum_version >= ssl.TLSVersion.TLSv1_2
