"""The way out: which network addresses a provider may be reached at, and whose certificates are believed. Not a
firewall: it guards our own sockets.
"""

import socket
import ssl
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

# Prefixes that carry an IPv4 address inside: `is_global` says True for most of them (reliability.md S14).
_WRAPPED = tuple(
    ip_network(net)
    for net in (
        "::/96",  # IPv4-compatible, RFC 4291 §2.5.5.1
        "64:ff9b::/96",  # NAT64, RFC 6052
        "64:ff9b:1::/48",  # local NAT64, RFC 8215
        "2002::/16",  # 6to4, RFC 3056
        "2001::/32",  # Teredo, RFC 4380
        "fec0::/10",  # site-local, RFC 3879
    )
)
# Reserved since, or never; older Pythons call them global.
_RESERVED = tuple(
    ip_network(net)
    for net in (
        "192.88.99.0/24",  # 6to4 relays, RFC 7526
        "3fff::/20",  # documentation, RFC 9637
        "5f00::/16",  # segment routing, RFC 9602
    )
)
# What mail and web services listen at. Any other port of a public address is somebody's database or cache.
PORTS = frozenset({25, 80, 443, 465, 587, 2465, 2525, 2587, 8443})
REFUSED_TEXT = (
    "The endpoint resolves to a loopback, private, link-local or otherwise reserved network address, or has a port "
    "that no mail or web service uses, which is refused. "
    "If that is meant, name the network in MESSAGEPIPE_EGRESS_ALLOW (CIDR list)."
)


class EgressDenied(OSError):
    """A provider's endpoint resolves to an address we do not connect to. An OSError, so that connecting code tries
    the next address.
    """

    def __init__(self) -> None:
        super().__init__(REFUSED_TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Egress:
    """Public addresses, plus the networks an operator has named (MESSAGEPIPE_EGRESS_ALLOW).

    `host_credentials`: a project's provider may act as this host does towards its cloud
    (MESSAGEPIPE_ALLOW_HOST_AWS_CREDENTIALS); not by default, as projects do not own the host.
    """

    allow: tuple[IPv4Network | IPv6Network, ...] = ()
    host_credentials: bool = False

    def check(self, address: str, port: int = 443) -> None:
        """Raise EgressDenied unless this IP address is public and the port one of PORTS, or its network is allowed by
        name, then at any port; anything that is no IP address is denied too.
        """
        try:
            ip = ip_address(address)
        except ValueError:
            raise EgressDenied from None
        if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        if not (any(ip in network for network in self.allow) or (_is_public(ip) and port in PORTS)):
            raise EgressDenied

    def open_socket(self, addr_info: tuple[Any, ...]) -> socket.socket:
        """A fresh socket for one getaddrinfo() answer, made only after its address was checked: nothing is resolved
        again afterwards.
        """
        family, kind, proto, _, address = addr_info
        try:
            self.check(str(address[0]), int(address[1]))
        except EgressDenied:
            progress = current_progress.get()
            if progress is not None:
                progress.refused = True
            raise
        return socket.socket(family=family, type=kind, proto=proto)


def _is_public(ip: IPv4Address | IPv6Address) -> bool:
    odd = ip.is_multicast or ip.is_unspecified or ip.is_reserved or ip.is_loopback or ip.is_link_local or ip.is_private
    return ip.is_global and not odd and not any(ip in network for network in (*_WRAPPED, *_RESERVED))


def parse_networks(words: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    """The CIDR list of a setting as networks. Raises ValueError naming every word that is none."""
    networks, bad = [], []
    for word in words:
        try:
            networks.append(ip_network(word.strip(), strict=False))
        except ValueError:
            bad.append(word)
    if bad:
        raise ValueError("not a network in CIDR form: " + ", ".join(repr(word) for word in bad))
    return tuple(networks)


@dataclass(slots=True)
class Progress:
    """How far one call has come on the wire; what tells *deferred* from *unknown* when it breaks."""

    written: bool = False  # our request, or any part of it, may have left
    refused: bool = False  # the egress rule turned down at least one address


# Connecting happens in tasks of other libraries' making; a context variable reaches them, an argument does not.
current_progress: ContextVar[Progress | None] = ContextVar("messagepipe_adapter_progress", default=None)


@lru_cache(maxsize=2)
def tls_context(verify: bool = True) -> ssl.SSLContext:
    """The TLS client context all adapters share: system certificates where there are any, certifi's otherwise; TLS
    1.2 at least.
    """
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif not context.get_ca_certs() and not _has_ca_directory():
        import certifi  # slim images carry no certificates of their own

        context.load_verify_locations(cafile=certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _has_ca_directory() -> bool:
    return ssl.get_default_verify_paths().capath is not None
