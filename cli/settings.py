"""The settings of `messagepipe up`, and what it hands down to each process. Not the services' own settings."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from cli.problem import Problem
from services.chassis.env import PREFIX, SecretText

LOOPBACK = "127.0.0.0/8,::1/128"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpSettings:
    """MESSAGEPIPE_* as `up` reads them; a flag of the same name wins. A port of 0 takes any free one."""

    database_url: SecretText | None = None
    allow_unsafe_durability: bool = False
    host: str = "127.0.0.1"
    http_port: int = 8080
    config_port: int = 50051
    dispatch_port: int = 50052
    jwt_secret: SecretText | None = None
    vault_keys: SecretText | None = None

    def __post_init__(self) -> None:
        problems = [
            f"{PREFIX}{name} must be 0 to 65535"
            for name, port in (
                ("HTTP_PORT", self.http_port),
                ("CONFIG_PORT", self.config_port),
                ("DISPATCH_PORT", self.dispatch_port),
            )
            if not 0 <= port <= 65535
        ]
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def ports(self) -> dict[str, int]:
        """Which process listens where."""
        return {"gateway": self.http_port, "config": self.config_port, "dispatch": self.dispatch_port}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """What `send`, `watch` and `doctor` read beside the data directory: the token to call with."""

    token: SecretText | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that is decided before a process is started; secrets travel in the environment, never in a command.

    `base` is the environment of `up` itself, `reads` the MESSAGEPIPE_* variables that each process reads.
    """

    settings: UpSettings
    database_url: SecretText
    jwt_secret: SecretText
    vault_keys: SecretText
    base: Mapping[str, str]
    reads: Mapping[str, frozenset[str]]

    @property
    def connect_host(self) -> str:
        """The host our own processes reach each other at."""
        return connect_host(self.settings.host)

    def target(self, process: str) -> str:
        """`host:port` of one process as others reach it."""
        return join(self.connect_host, self.settings.ports[process])

    def environ_of(self, process: str) -> dict[str, str]:
        """The environment of one process: of MESSAGEPIPE_* only what it reads, so no secret of another."""
        ours = {
            "DATABASE_URL": self.database_url.reveal(),
            "JWT_SECRET": self.jwt_secret.reveal(),
            "VAULT_KEYS": self.vault_keys.reveal(),
            "HOST": self.settings.host,
            "HTTP_PORT": str(self.settings.http_port),
            "CONFIG_PORT": str(self.settings.config_port),
            "DISPATCH_PORT": str(self.settings.dispatch_port),
            "CONFIG_TARGET": self.target("config"),
            "DISPATCH_TARGET": self.target("dispatch"),
        }
        if is_loopback(self.settings.host) and not self.base.get(f"{PREFIX}EGRESS_ALLOW"):
            ours["EGRESS_ALLOW"] = LOOPBACK
        merged = {**self.base, **{f"{PREFIX}{name}": value for name, value in ours.items()}}
        reads = self.reads[process]
        return {name: value for name, value in merged.items() if not name.startswith(PREFIX) or name in reads}


def with_flags(environ: Mapping[str, str], flags: Mapping[str, str | int | None]) -> dict[str, str]:
    """The environment in which every flag that was given stands in for its variable."""
    given = {f"{PREFIX}{name.upper()}": str(value) for name, value in flags.items() if value is not None}
    return {**environ, **given}


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def connect_host(host: str) -> str:
    """Where a server bound to `host` can be reached from this machine."""
    bare = host.strip("[]")
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(bare, bare)  # noqa: S104 - the answer, not a bind


def join(host: str, port: int) -> str:
    """`host:port`, an IPv6 address in brackets (RFC 3986 §3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def check_ports(ports: Mapping[str, int]) -> None:
    """Problem when two processes were given the same port; 0 stands for different ones."""
    seen: dict[int, str] = {}
    for process, port in ports.items():
        if port and port in seen:
            raise Problem(f"{seen[port]} and {process} can not share port {port}; give one of them another")
        seen[port] = process
