"""What the gateway can be told from outside. It reads nothing itself; services.chassis.env fills it."""

from dataclasses import dataclass, field

from services.chassis.auth import AuthSettings
from services.chassis.env import SecretText, is_base_url

MIB = 1024 * 1024
MIN_MESSAGE_BYTES = 1 * MIB
MAX_MESSAGE_BYTES = 40 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """MESSAGEPIPE_HOST, MESSAGEPIPE_HTTP_PORT and so on. Sizes in bytes; ValueError names a size out of its range.

    `public_url` is what callers know the gateway by when something stands in front of it: providers sign it.
    `internal_token` goes to DispatchService with receipts; without it one is made from the JWT secret.
    `gateway_metrics_port` is where metrics are read, on `metrics_host`; None: nowhere.
    `otlp_endpoint` is where traces go.
    """

    host: str = "127.0.0.1"
    http_port: int = 8080
    metrics_host: str = "127.0.0.1"
    gateway_metrics_port: int | None = None
    otlp_endpoint: str = ""
    config_target: str = "127.0.0.1:50051"
    dispatch_target: str = "127.0.0.1:50052"
    public_url: str = ""
    internal_token: SecretText | None = None
    max_message_bytes: int = 10 * MIB
    max_in_flight_bytes: int = 256 * MIB
    max_config_bytes: int = 1 * MIB
    log_level: str = "info"
    log_json: bool | None = None
    drain_grace: float = 10.0
    auth: AuthSettings = field(default_factory=AuthSettings)

    def __post_init__(self) -> None:
        problems = []
        if not MIN_MESSAGE_BYTES <= self.max_message_bytes <= MAX_MESSAGE_BYTES:
            problems.append(f"MESSAGEPIPE_MAX_MESSAGE_BYTES must be {MIN_MESSAGE_BYTES} to {MAX_MESSAGE_BYTES}")
        if self.max_in_flight_bytes < self.message_request_limit:
            problems.append("MESSAGEPIPE_MAX_IN_FLIGHT_BYTES must be MESSAGEPIPE_MAX_MESSAGE_BYTES and 1 MiB, or more")
        if not 1024 <= self.max_config_bytes <= MAX_MESSAGE_BYTES:
            problems.append(f"MESSAGEPIPE_MAX_CONFIG_BYTES must be 1024 to {MAX_MESSAGE_BYTES}")
        if not 0 <= self.http_port <= 65535:
            problems.append("MESSAGEPIPE_HTTP_PORT must be 0 to 65535; 0 takes any free port")
        if self.gateway_metrics_port is not None and not 0 <= self.gateway_metrics_port <= 65535:
            problems.append("MESSAGEPIPE_GATEWAY_METRICS_PORT must be 0 to 65535; 0 takes any free port")
        if self.public_url and not is_base_url(self.public_url):
            problems.append("MESSAGEPIPE_PUBLIC_URL must be such as https://mail.example.com, without a query")
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def message_body_limit(self) -> int:
        """Bytes of JSON that a route of messages takes: attachments travel as base64, a third longer, plus 1 MiB for
        the rest.
        """
        return self.max_message_bytes * 4 // 3 + MIB

    @property
    def message_request_limit(self) -> int:
        """Bytes of a request about messages as the service takes it: attachments decoded, plus 1 MiB for the rest."""
        return self.max_message_bytes + MIB
