"""Every case in which ConfigService says no, one class per reason. Not how an error travels: that is chassis/status.

    ServiceError
    ├── NotFound
    │   ├── ProjectNotFound             PROJECT_NOT_FOUND
    │   ├── ProviderNotFound            PROVIDER_NOT_FOUND
    │   ├── ProviderSchemaNotFound      PROVIDER_SCHEMA_NOT_FOUND
    │   ├── ChannelConfigNotFound       CHANNEL_CONFIG_NOT_FOUND
    │   ├── TemplateNotFound            TEMPLATE_NOT_FOUND
    │   └── ApiKeyNotFound              API_KEY_NOT_FOUND
    ├── AlreadyExists
    │   ├── ProjectAlreadyExists        PROJECT_ALREADY_EXISTS
    │   ├── ChannelConfigAlreadyExists  CHANNEL_CONFIG_ALREADY_EXISTS
    │   └── IdempotencyKeyReused        IDEMPOTENCY_KEY_REUSED
    ├── FailedPrecondition
    │   └── ConfirmationNeeded          CONFIRMATION_NEEDED
    ├── ResourceExhausted
    │   ├── TooManyProviders            TOO_MANY_PROVIDERS
    │   ├── TooManyTemplates            TOO_MANY_TEMPLATES
    │   └── TooManyApiKeys              TOO_MANY_API_KEYS
    ├── FailedPrecondition
    │   └── SecretLost                  SECRET_LOST
    ├── PermissionDenied
    │   ├── AllProjectsNeeded           ALL_PROJECTS_NEEDED
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


class ApiKeyNotFound(NotFound):
    """No API key of the project has this id."""

    reason = "API_KEY_NOT_FOUND"

    def __init__(self, key_id: str) -> None:
        super().__init__("There is no API key with this id in the project.", metadata={"id": key_id})


class ProjectAlreadyExists(AlreadyExists):
    """The id that was asked for is a project's already."""

    reason = "PROJECT_ALREADY_EXISTS"

    def __init__(self, project_id: str) -> None:
        super().__init__("There is a project with this id already.", metadata={"id": project_id})


class ConfirmationNeeded(FailedPrecondition):
    """A project is deleted only by who says its name; the message says how."""

    reason = "CONFIRMATION_NEEDED"

    def __init__(self, name: str) -> None:
        super().__init__(
            "This removes the project and everything that is configured in it. To confirm it, send the project's name"
            " in `confirm` (over HTTP the query parameter ?confirm=…).",
            metadata={"confirm": name},
        )


class AllProjectsNeeded(PermissionDenied):
    """Only a token for all projects may make one: otherwise its maker could not use it."""

    reason = "ALL_PROJECTS_NEEDED"

    def __init__(self) -> None:
        super().__init__('A token for all projects is needed: one whose claim `projects` is "*".')


class TooManyApiKeys(ResourceExhausted):
    """The project has as many API keys as it may have."""

    reason = "TOO_MANY_API_KEYS"

    def __init__(self, limit: int) -> None:
        super().__init__(f"A project may have {limit} API keys: delete one first.", metadata={"limit": str(limit)})


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


class TemplateNotFound(NotFound):
    """No template has this id, or not this version, in any project the token names, of the type asked for."""

    reason = "TEMPLATE_NOT_FOUND"

    def __init__(self, template_id: str) -> None:
        super().__init__("Template not found", metadata={"id": template_id})


class TooManyTemplates(ResourceExhausted):
    """The project has as many templates of this type as it may have."""

    reason = "TOO_MANY_TEMPLATES"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"A project may have {limit} templates of a type: delete one first.", metadata={"limit": str(limit)}
        )


class SendScopeMissing(PermissionDenied):
    """A test that sends a real message needs the scope that sending needs."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"To send to a recipient, the token needs the scope {scope}.", metadata={"scope": scope})


class DatabaseUnavailable(Unavailable):
    """The database can not be reached or is too slow; nothing else is known about the request."""

    def __init__(self) -> None:
        super().__init__("The configuration can not be reached right now; try again shortly.", retry_after=1.0)
