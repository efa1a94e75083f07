"""What a request about projects and API keys asks for: read into values, every violation noted."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from google.protobuf.message import Message
from messagepipe.config.v1 import project_service_pb2 as pb2

from services.chassis.auth import ALL, Principal
from services.chassis.errors import FieldViolation, InvalidArgument
from services.chassis.pagination import PageRequest, parse_page
from services.chassis.validation import validate
from services.config.access import project_of
from services.config.errors import AllProjectsNeeded, ProjectNotFound
from services.config.project import ApiKeyChange, change_violations, project_violations
from services.config.provider import name_violations, parse_id

PAGE_SIZE = 1000
MAX_USES = 10_000


def read_creation(principal: Principal, request: pb2.CreateProjectRequest) -> tuple[str, str]:
    """The id, which may be empty, and the name of the project to make; AllProjectsNeeded or InvalidArgument."""
    if principal.projects != ALL:
        raise AllProjectsNeeded
    _refuse(request, *project_violations(request.id, request.name))
    return request.id, request.name


def read_page(principal: Principal, request: pb2.ListProjectsRequest) -> PageRequest:
    """Which page of the caller's projects; raises InvalidArgument."""
    allowed = principal.project_filter()
    whose = ["*"] if allowed is None else allowed
    return parse_page(
        request.page_size,
        request.page_token,
        "ListProjects",
        *whose,
        default=PAGE_SIZE,
        maximum=PAGE_SIZE,
        key_types=(str,),
    )


def read_project(principal: Principal, request: pb2.GetProjectRequest | pb2.DeleteProjectRequest) -> str:
    """The project's id; raises InvalidArgument or ProjectNotFound."""
    _refuse(request)
    if not principal.may_use(request.id):
        raise ProjectNotFound
    return request.id


def read_project_of_key(principal: Principal, request: pb2.ListApiKeysRequest | pb2.DeleteApiKeyRequest) -> str:
    """The project whose keys are meant; raises InvalidArgument or ProjectNotFound."""
    project, violations = project_of(principal, {"projectId": request.project_id})
    _refuse(request, *violations)
    return project


def read_key_creation(principal: Principal, request: pb2.CreateApiKeyRequest) -> tuple[str, str]:
    """The project and the name of the key to make; raises InvalidArgument or ProjectNotFound."""
    project, violations = project_of(principal, {"projectId": request.project_id})
    _refuse(request, *violations, *name_violations(request.name, "name"))
    return project, request.name


def read_key_change(principal: Principal, request: pb2.UpdateApiKeyRequest) -> tuple[str, ApiKeyChange]:
    """The project and the change of its key; raises InvalidArgument or ProjectNotFound."""
    project, violations = project_of(principal, {"projectId": request.project_id})
    change = ApiKeyChange(
        name=request.name if request.HasField("name") else None,
        is_active=request.is_active if request.HasField("is_active") else None,
    )
    _refuse(request, *violations, *change_violations(change))
    return project, change


def read_uses(request: pb2.RecordApiKeyUsesRequest) -> dict[UUID, datetime]:
    """When which keys were used; raises InvalidArgument."""
    uses: dict[UUID, datetime] = {}
    violations = []
    for place, use in enumerate(request.uses):
        known = parse_id(use.id)
        if known is None or not use.HasField("used_at"):
            violations.append(FieldViolation(f"uses[{place}]", "must have the id of a key and a time"))
        else:
            uses[known] = use.used_at.ToDatetime(UTC)
    if len(uses) > MAX_USES:
        violations.append(FieldViolation("uses", f"must be at most {MAX_USES}"))
    _refuse(request, *violations)
    return uses


def _refuse(request: Message, *violations: FieldViolation) -> None:
    found: dict[str, Any] = {each.field: each for each in (*validate(request), *violations)}
    if found:
        raise InvalidArgument(violations=found.values())
