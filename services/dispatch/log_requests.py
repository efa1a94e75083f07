"""Requests of LogService as values, with everything that is wrong with them at once."""

from datetime import UTC, datetime

from google.protobuf.message import Message
from messagepipe.dispatch.v1 import log_service_pb2 as pb

from services.adapters.base import Channel
from services.chassis.auth import Principal
from services.chassis.errors import FieldViolation, InvalidArgument
from services.dispatch.delivery_log import DEFAULT_LIMIT, MOST_LIMIT, MOST_PAGE, Filter, Page, Status
from services.dispatch.intake import project_of

TYPES = {Channel.EMAIL: "email", Channel.SMS: "sms"}
# Documented words for channels that no message has yet.
LATER_TYPES = ("app", "push")
MOST_TEXT = 320


def asked(request: pb.ListLogEntriesRequest, caller: Principal) -> tuple[Filter, Page]:
    """What a request asks for; InvalidArgument with everything that is wrong, ProjectNotFound for somebody else's."""
    project = project_of(request.project_id, caller, "projectId")
    violations = [project] if isinstance(project, FieldViolation) else []
    check_type(request.message_type, violations)
    if request.status and request.status not in list(Status):
        violations.append(FieldViolation("status", f"must be one of {', '.join(Status)}"))
    page = _page(request, violations)
    check_text("provider", request.provider, violations)
    check_text("recipient", request.recipient, violations)
    after = moment(request, "created_after", violations)
    before = moment(request, "created_before", violations)
    if violations or isinstance(project, FieldViolation):
        raise InvalidArgument(violations=violations)
    wanted = Filter(
        project_id=project,
        channel={word: channel for channel, word in TYPES.items()}.get(request.message_type),
        status=Status(request.status) if request.status else None,
        provider=request.provider,
        recipient=request.recipient,
        after=after,
        before=before,
    )
    return wanted, page


def _page(request: pb.ListLogEntriesRequest, violations: list[FieldViolation]) -> Page:
    number = request.page if request.HasField("page") else 1
    limit = request.limit if request.HasField("limit") else DEFAULT_LIMIT
    if not 1 <= number <= MOST_PAGE:
        violations.append(FieldViolation("page", f"must be 1 to {MOST_PAGE}"))
    if not 1 <= limit <= MOST_LIMIT:
        violations.append(FieldViolation("limit", f"must be 1 to {MOST_LIMIT}"))
    return Page(number=number, limit=limit)


def check_type(word: str, violations: list[FieldViolation]) -> None:
    """A documented word for a channel, or none."""
    if word and word not in (*TYPES.values(), *LATER_TYPES):
        violations.append(FieldViolation("messageType", f"must be one of {', '.join((*TYPES.values(), *LATER_TYPES))}"))


def check_text(path: str, said: str, violations: list[FieldViolation]) -> None:
    """A text to be looked for."""
    if len(said) > MOST_TEXT or not said.isprintable():
        violations.append(FieldViolation(path, f"must be at most {MOST_TEXT} printable characters"))


def moment(request: Message, name: str, violations: list[FieldViolation]) -> datetime | None:
    """The time that a field says, if it says one."""
    if not request.HasField(name):
        return None
    try:
        said: datetime = getattr(request, name).ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        head, *rest = name.split("_")
        violations.append(FieldViolation(head + "".join(map(str.capitalize, rest)), "is out of range"))
        return None
    return said
