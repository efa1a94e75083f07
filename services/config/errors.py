"""Every case in which ConfigService says no, one class per reason. Not how an error travels: that is chassis/status.

    ServiceError
    ├── NotFound
    │   ├── ProjectNotFound             PROJECT_NOT_FOUND
    │   ├── ProviderNotFound            PROVIDER_NOT_FOUND
    │   ├── ProviderSchemaNotFound      PROVIDER_SCHEMA_NOT_FOUND
    │   └── ChannelConfigNotFound       CHANNEL_CONFIG_NOT_FOUND
    ├── AlreadyExists
    │   ├── ChannelConfigAlreadyExists  CHANNEL_CONFIG_ALREADY_EXISTS
    │   └── IdempotencyKeyReused        IDEMPOTENCY_KEY_REUSED
    ├── ResourceExhausted
    │   └── TooManyProviders            TOO_MANY_PROVIDERS
    ├── FailedPrecondition
    │   └── SecretLost                  SECRET_LOST
    ├── PermissionDenied
    │   └── SendScopeMissing            with the chassis' reason, SCOPE_MISSING
    └── Unavailable
        └── DatabaseUnavailable         with the chassis' reason, UNAVAILABLE

The other reasons are the chassis' own (CHASSIS_REASONS there): wrong requests, tokens, scopes, faults of ours.
"""

from collections.abc import Iterable

from services.adapters.base import Channel
from services.chassis.errors import (
    AlreadyExists,
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)


class ProjectNotFound(NotFound):
    """The token does not name this project; whether it has anything in it is not said."""

    reason = "PROJECT_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("There is no such project for this token.")


class SecretLost(FailedPrecondition):
    """A sealed secret does not open: its key is not among the vault's, or it belongs elsewhere."""

    reason = "SECRET_LOST"

    def __init__(self, key_id: str) -> None:
        super().__init__("The secret does not open.", metadata={"keyId": key_id})


class ProviderNotFound(NotFound):
    """No provider has this id in any project the token names, on the channel asked for."""

    reason = "PROVIDER_NOT_FOUND"

    def __init__(self, provider_id: str) -> None:
        super().__init__("There is no provider with this id.", metadata={"id": provider_id})


class ProviderSchemaNotFound(NotFound):
    """No such kind on this channel; the message names the kinds there are."""

    reason = "PROVIDER_SCHEMA_NOT_FOUND"

    def __init__(self, kind: str, known: Iterable[str]) -> None:
        words = ", ".join(known)
        super().__init__(
            f"There is no such kind of provider. Known: {words}.", metadata={"provider": kind, "known": words}
        )


class ChannelConfigNotFound(NotFound):
    """The project has set no sender on this channel."""

    reason = "CHANNEL_CONFIG_NOT_FOUND"

    def __init__(self, channel: Channel) -> None:
        super().__init__(f"The project has set no sender for {channel} yet: create it.", metadata={"channel": channel})


class ChannelConfigAlreadyExists(AlreadyExists):
    """The project has set a sender on this channel already."""

    reason = "CHANNEL_CONFIG_ALREADY_EXISTS"

    def __init__(self, channel: Channel) -> None:
        super().__init__(f"The project has a sender for {channel} already: update it.", metadata={"channel": channel})


class IdempotencyKeyReused(AlreadyExists):
    """The idempotency key stands for another request of this project; nothing was done."""

    reason = "IDEMPOTENCY_KEY_REUSED"

    def __init__(self) -> None:
        super().__init__("The idempotency key was used for another request: give each request a key of its own.")


class TooManyProviders(ResourceExhausted):
    """The project has as many providers on this channel as it may have."""

    reason = "TOO_MANY_PROVIDERS"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"A project may have {limit} providers per channel: delete one first.", metadata={"limit": str(limit)}
        )


class SendScopeMissing(PermissionDenied):
    """A test that sends a real message needs the scope that sending needs."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"To send to a recipient, the token needs the scope {scope}.", metadata={"scope": scope})


class DatabaseUnavailable(Unavailable):
    """The database can not be reached or is too slow; nothing else is known about the request."""

    def __init__(self) -> None:
        super().__init__("The configuration can not be reached right now; try again shortly.", retry_after=1.0)
