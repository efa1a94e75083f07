"""Projects and API keys between our values and the contract's messages."""

from collections.abc import Callable

from messagepipe.config.v1 import project_service_pb2 as pb2

from services.chassis.api_keys import ActiveKey
from services.config.api_key_feed import RollAnswer
from services.config.convert import timestamp_of
from services.config.project import ApiKey, Project
from services.config.project_editor import MadeKey

SHOWN_ONCE = "API key created successfully. Keep it safe: it is not shown again."


def project_message(project: Project) -> pb2.Project:
    """The project."""
    return pb2.Project(id=project.id, name=project.name, created_at=timestamp_of(project.created_at))


def api_key_message(key: ApiKey) -> pb2.ApiKey:
    """What may be shown of an API key."""
    message = pb2.ApiKey(
        id=str(key.id),
        project_id=key.project_id,
        name=key.name,
        prefix=key.prefix,
        is_active=key.is_active,
        created_at=timestamp_of(key.created_at),
    )
    if key.last_used_at is not None:
        message.last_used_at.CopyFrom(timestamp_of(key.last_used_at))
    return message


def made_key_message(made: MadeKey) -> pb2.CreateApiKeyResponse:
    """A new API key with the key itself: for its maker, once. Never log it."""
    return pb2.CreateApiKeyResponse(
        message=SHOWN_ONCE,
        key=made.text,
        id=str(made.key.id),
        project_id=made.key.project_id,
        name=made.key.name,
        prefix=made.key.prefix,
        is_active=made.key.is_active,
        created_at=timestamp_of(made.key.created_at),
    )


def roll_message(answer: RollAnswer, may_use: Callable[[str], bool]) -> pb2.WatchApiKeysResponse:
    """One answer on a WatchApiKeys stream, with the keys of the projects the caller may use. Never log it."""
    added = [_active(key) for key in answer.added if may_use(key.project_id)]
    return pb2.WatchApiKeysResponse(
        heard=answer.heard, version=answer.version, hash_secret=answer.secret, added=added, removed=answer.removed
    )


def _active(key: ActiveKey) -> pb2.WatchApiKeysResponse.ActiveKey:
    return pb2.WatchApiKeysResponse.ActiveKey(hash=key.hash, id=key.id, project_id=key.project_id)
