"""What ConfigService can be told, each from MESSAGEPIPE_<NAME>. Reading the environment is chassis/env.py's work."""

from collections.abc import Iterator
from dataclasses import dataclass

from services.adapters.egress import Egress, parse_networks
from services.chassis.auth import AuthSettings
from services.chassis.database import parse_dsn
from services.chassis.env import SecretText, SettingsError
from services.chassis.idempotency import DEFAULT_HOURS, LEAST_HOURS, MOST_HOURS
from services.chassis.log import LEVELS
from services.config.vault import KeyRing, parse_keys

MAX_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigSettings:
    """The settings of one ConfigService process.

    `vault_keys` is `id:base64key,id:base64key`, AES-256 keys, the first of which seals (see vault.py).
    `config_port` 0 takes any free one. `egress_allow` names networks (CIDR) in which TestProvider may reach a
    provider although they are not public; `allow_host_aws_credentials` lets it use this host's own.
    `allow_unsafe_durability` serves on a database that may forget what it acknowledged. `idempotency_hours` is how long
    a key stands for its write. `config_metrics_port` is where metrics are read, on `metrics_host`; None: nowhere.
    `otlp_endpoint` is where traces go. In seconds: `database_wait` for the database at the start, `drain_grace` for
    open requests at the end.
    """

    database_url: SecretText
    vault_keys: SecretText
    auth: AuthSettings
    host: str = "127.0.0.1"
    config_port: int = 50051
    metrics_host: str = "127.0.0.1"
    config_metrics_port: int | None = None
    otlp_endpoint: str = ""
    egress_allow: tuple[str, ...] = ()
    allow_host_aws_credentials: bool = False
    allow_unsafe_durability: bool = False
    idempotency_hours: int = DEFAULT_HOURS
    database_wait: float = 30.0
    drain_grace: float = 5.0
    log_level: str = "info"
    log_json: bool | None = None

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise SettingsError(problems)

    @property
    def keys(self) -> KeyRing:
        """The vault's keys."""
        return parse_keys(self.vault_keys)

    @property
    def egress(self) -> Egress:
        """The way out that the operator allows."""
        return Egress(allow=parse_networks(self.egress_allow), host_credentials=self.allow_host_aws_credentials)

    def _problems(self) -> Iterator[str]:
        try:
            parse_dsn(self.database_url)
        except ValueError as error:
            yield f"MESSAGEPIPE_DATABASE_URL is wrong: {error}"
        try:
            parse_keys(self.vault_keys)
        except ValueError as error:
            yield f"MESSAGEPIPE_VAULT_KEYS is wrong: {error}"
        try:
            _ = self.egress
        except ValueError as error:
            yield f"MESSAGEPIPE_EGRESS_ALLOW is wrong: {error}"
        if not 0 <= self.config_port <= MAX_PORT:
            yield f"MESSAGEPIPE_CONFIG_PORT={self.config_port} is wrong: a port is 0 to {MAX_PORT}"
        if self.config_metrics_port is not None and not 0 <= self.config_metrics_port <= MAX_PORT:
            yield f"MESSAGEPIPE_CONFIG_METRICS_PORT={self.config_metrics_port} is wrong: a port is 0 to {MAX_PORT}"
        if not LEAST_HOURS <= self.idempotency_hours <= MOST_HOURS:
            yield f"MESSAGEPIPE_IDEMPOTENCY_HOURS must be {LEAST_HOURS} to {MOST_HOURS}"
        if self.log_level.lower() not in LEVELS:
            yield f"MESSAGEPIPE_LOG_LEVEL is wrong: use one of {', '.join(LEVELS)}"
        if self.database_wait < 0 or self.drain_grace < 0:
            yield "MESSAGEPIPE_DATABASE_WAIT and MESSAGEPIPE_DRAIN_GRACE must be 0 or more seconds"
