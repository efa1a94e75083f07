"""The settings of the dispatch process, each read from MESSAGEPIPE_<NAME>. Not the policies of a message: those come
with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from services.adapters.egress import Egress, parse_networks
from services.chassis.auth import AuthSettings
from services.chassis.database import parse_dsn
from services.chassis.env import SecretText, SettingsError, is_base_url
from services.chassis.idempotency import DEFAULT_HOURS, LEAST_HOURS, MOST_HOURS
from services.chassis.log import LEVELS

MEBIBYTE = 1024 * 1024
LARGEST_MESSAGE = 40 * MEBIBYTE
MOST_DAYS = 3650


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchSettings:
    """The settings of one DispatchService process; times in seconds.

    `lease_seconds` is how long the messages of a dispatcher that died wait for rescue. `max_in_flight` bounds the
    provider calls at a time, `max_in_flight_bytes` the messages that are being accepted and those that are being sent.
    `egress_allow` names networks (CIDR) that a provider may be reached in although they are not public;
    `allow_host_aws_credentials` lets providers use this host's own. `allow_unsafe_durability` serves on a database that
    may forget what it acknowledged. `public_url` is how the gateway is known outside: where providers that ask send
    their receipts. `idempotency_hours` is how long a key stands for its message, `retention_days` how long a message is
    kept. `internal_token` goes to ConfigService; without it one is made from the JWT secret. `dispatch_metrics_port` is
    where metrics are read, on `metrics_host`; None: nowhere, 0: any free port. `otlp_endpoint` is where traces go.
    """

    database_url: SecretText
    auth: AuthSettings
    host: str = "127.0.0.1"
    dispatch_port: int = 50052
    metrics_host: str = "127.0.0.1"
    dispatch_metrics_port: int | None = None
    otlp_endpoint: str = ""
    config_target: str = "127.0.0.1:50051"
    internal_token: SecretText | None = None
    egress_allow: tuple[str, ...] = ()
    allow_host_aws_credentials: bool = False
    allow_unsafe_durability: bool = False
    public_url: str = ""
    max_message_bytes: int = 10 * MEBIBYTE
    max_in_flight: int = 1000
    max_in_flight_bytes: int = 256 * MEBIBYTE
    lease_seconds: float = 30.0
    idempotency_hours: int = DEFAULT_HOURS
    retention_days: int = 30
    database_connections: int = 8
    batch_pace_ms: int = 5
    database_wait: float = 30.0
    drain_grace: float = 20.0
    log_level: str = "info"
    log_json: bool | None = None

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise SettingsError(problems)

    @property
    def egress(self) -> Egress:
        """The way out that the operator allows."""
        return Egress(allow=parse_networks(self.egress_allow), host_credentials=self.allow_host_aws_credentials)

    def _problems(self) -> Iterator[str]:
        yield from self._unreadable()
        yield from self._out_of_bounds()
        if not self.idempotency_hours / 24 <= self.retention_days <= MOST_DAYS:
            yield f"MESSAGEPIPE_RETENTION_DAYS must be as long as MESSAGEPIPE_IDEMPOTENCY_HOURS, at most {MOST_DAYS}"
        if self.internal_token is None and self.auth.jwt_secret is None:
            yield "MESSAGEPIPE_INTERNAL_TOKEN is required when there is no MESSAGEPIPE_JWT_SECRET to make one from"
        if self.public_url and not is_base_url(self.public_url):
            yield "MESSAGEPIPE_PUBLIC_URL must be such as https://mail.example.com, without a query"
        if self.log_level.lower() not in LEVELS:
            yield f"MESSAGEPIPE_LOG_LEVEL is wrong: use one of {', '.join(LEVELS)}"

    def _out_of_bounds(self) -> Iterator[str]:
        if not 0 <= self.dispatch_port <= 65535:
            yield "MESSAGEPIPE_DISPATCH_PORT must be 0 to 65535; 0 takes any free one"
        if self.dispatch_metrics_port is not None and not 0 <= self.dispatch_metrics_port <= 65535:
            yield "MESSAGEPIPE_DISPATCH_METRICS_PORT must be 0 to 65535; 0 takes any free one"
        if not MEBIBYTE <= self.max_message_bytes <= LARGEST_MESSAGE:
            yield f"MESSAGEPIPE_MAX_MESSAGE_BYTES must be {MEBIBYTE} to {LARGEST_MESSAGE}"
        if not 1 <= self.max_in_flight <= 100_000:
            yield "MESSAGEPIPE_MAX_IN_FLIGHT must be 1 to 100000"
        if self.max_in_flight_bytes < self.max_message_bytes + MEBIBYTE:
            yield "MESSAGEPIPE_MAX_IN_FLIGHT_BYTES must be MESSAGEPIPE_MAX_MESSAGE_BYTES and 1 MiB, or more"
        if not 1 <= self.lease_seconds <= 600:
            yield "MESSAGEPIPE_LEASE_SECONDS must be 1 to 600"
        if not LEAST_HOURS <= self.idempotency_hours <= MOST_HOURS:
            yield f"MESSAGEPIPE_IDEMPOTENCY_HOURS must be {LEAST_HOURS} to {MOST_HOURS}"
        if not 3 <= self.database_connections <= 100:
            yield "MESSAGEPIPE_DATABASE_CONNECTIONS must be 3 to 100"
        if not 0 <= self.batch_pace_ms <= 100:
            yield "MESSAGEPIPE_BATCH_PACE_MS must be 0 to 100"

    def _unreadable(self) -> Iterator[str]:
        try:
            parse_dsn(self.database_url)
        except ValueError as error:
            yield f"MESSAGEPIPE_DATABASE_URL is wrong: {error}"
        try:
            _ = self.egress
        except ValueError as error:
            yield f"MESSAGEPIPE_EGRESS_ALLOW is wrong: {error}"
