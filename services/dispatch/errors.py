"""The errors of DispatchService, one class per reason of error_reason.proto. Why an attempt failed is no error: see
Result.reason.

    ServiceError
    ├── InvalidArgument     └── MessageRejected
    ├── Unauthenticated     └── ReceiptNotProved
    ├── NotFound            ├── ProjectNotFound
    │                       ├── MessageNotFound
    │                       ├── SuppressionNotFound
    │                       ├── WebhookNotFound
    │                       └── TemplateNotFound
    ├── AlreadyExists       └── IdempotencyKeyReused
    ├── FailedPrecondition  ├── NoProvider
    │                       ├── MessageEnded
    │                       ├── WrongState
    │                       └── DuplicatePossible
    ├── ResourceExhausted   └── TooManyWebhooks
    ├── Internal            └── AllProvidersFailed
    ├── DeadlineExceeded    └── StillSending
    ├── Unavailable         └── ServiceUnavailable ── DatabaseUnavailable
    └── Unimplemented       └── NotServed
"""

from uuid import UUID

from services.chassis.errors import (
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    Kind,
    NotFound,
    ResourceExhausted,
    ServiceError,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)


class ProjectNotFound(NotFound):
    """The project does not exist for this caller."""

    reason = "PROJECT_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("Project not found.")


class MessageNotFound(NotFound):
    """The message does not exist for this caller."""

    reason = "MESSAGE_NOT_FOUND"

    def __init__(self, message_id: str) -> None:
        super().__init__("Message not found.", metadata={"id": message_id})


class SuppressionNotFound(NotFound):
    """The entry of the list of suppressions does not exist for this caller."""

    reason = "SUPPRESSION_NOT_FOUND"

    def __init__(self, entry_id: str) -> None:
        super().__init__("Suppression not found.", metadata={"id": entry_id})


class TemplateNotFound(NotFound):
    """The template does not exist for this caller, or not in that version or for that channel."""

    reason = "TEMPLATE_NOT_FOUND"

    def __init__(self, template_id: str) -> None:
        super().__init__("Template not found", metadata={"id": template_id[:100]})


class WebhookNotFound(NotFound):
    """The webhook does not exist for this caller."""

    reason = "WEBHOOK_NOT_FOUND"

    def __init__(self, webhook_id: str) -> None:
        super().__init__("Webhook not found.", metadata={"id": webhook_id[:100]})


class TooManyWebhooks(ResourceExhausted):
    """The project has as many webhooks as it may have."""

    reason = "TOO_MANY_WEBHOOKS"

    def __init__(self, limit: int) -> None:
        super().__init__(f"A project has at most {limit} webhooks.", metadata={"limit": str(limit)})


class IdempotencyKeyReused(AlreadyExists):
    """The idempotency key stands for another content in this project; nothing was accepted."""

    reason = "IDEMPOTENCY_KEY_REUSED"

    def __init__(self) -> None:
        super().__init__("The idempotency key was used for another content: give each message a key of its own.")


class ReceiptNotProved(Unauthenticated):
    """ReceiveReceipt: not proved to be the provider's, or no such provider; which of them is not said."""

    reason = "RECEIPT_REFUSED"

    def __init__(self) -> None:
        super().__init__("The receipt is refused.")


class WrongState(FailedPrecondition):
    """The message is not in a state that allows this."""

    reason = "WRONG_STATE"

    def __init__(self, message_id: UUID, state: str, why: str) -> None:
        super().__init__(why, metadata={"id": str(message_id), "state": state})


class DuplicatePossible(FailedPrecondition):
    """RetryMessage: somebody may have taken the message, and the caller did not say that a second copy is all right."""

    reason = "DUPLICATE_POSSIBLE"

    def __init__(self, message_id: UUID) -> None:
        why = "A provider may have taken the message: set acceptDuplicate if it may arrive twice."
        super().__init__(why, metadata={"id": str(message_id)})


class NotServed(Unimplemented):
    """The method or field is part of the contract and not served yet."""

    reason = "NOT_IMPLEMENTED"

    def __init__(self, method: str) -> None:
        super().__init__(f"{method} is not served by this version.", metadata={"method": method})


class ServiceUnavailable(Unavailable):
    """The database or another part can not be reached."""

    reason = "UNAVAILABLE"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} can not be reached; try again.", retry_after=1.0)


class DatabaseUnavailable(ServiceUnavailable):
    """The database can not be reached: nobody knows what was written."""

    def __init__(self) -> None:
        super().__init__("The database")


class AllProvidersFailed(ServiceError):
    """SendMessage: every provider failed, each error in order. The documented HTTP status is 500, hence INTERNAL."""

    code = Kind.INTERNAL
    reason = "ALL_PROVIDERS_FAILED"

    def __init__(self, message_id: UUID, attempts: int, errors: str) -> None:
        metadata = {"messageId": str(message_id), "attempts": str(attempts)}
        super().__init__(f"All providers failed: {errors}", metadata=metadata)


class MessageRejected(InvalidArgument):
    """SendMessage: a provider said that no provider would take the message."""

    reason = "MESSAGE_REJECTED"

    def __init__(self, message_id: UUID, attempt_reason: str, detail: str) -> None:
        metadata = {"messageId": str(message_id), "attemptReason": attempt_reason}
        super().__init__(f"The message was rejected: {detail}", metadata=metadata)


class NoProvider(FailedPrecondition):
    """SendMessage: there was no provider that might be tried."""

    reason = "NO_PROVIDER"

    def __init__(self, message_id: UUID, detail: str) -> None:
        super().__init__(detail, metadata={"messageId": str(message_id)})


class MessageEnded(FailedPrecondition):
    """SendMessage: the message expired or was cancelled before a provider took it."""

    reason = "MESSAGE_ENDED"

    def __init__(self, message_id: UUID, state: str) -> None:
        super().__init__(f"The message ended as {state}.", metadata={"messageId": str(message_id), "state": state})


class StillSending(DeadlineExceeded):
    """SendMessage: the caller's time ran out first; the message is accepted and goes on."""

    reason = "STILL_SENDING"

    def __init__(self, message_id: UUID) -> None:
        super().__init__("The message is accepted and still being sent.", metadata={"messageId": str(message_id)})
