"""What a request asks for: the contract's messages read into values, every violation noted. Answers: convert.py."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.protobuf.struct_pb2 import Struct
from messagepipe.config.v1 import config_service_pb2 as service_pb2
from messagepipe.config.v1 import provider_pb2

from services.adapters.base import Channel
from services.adapters.schema import normalise
from services.chassis.auth import Principal
from services.chassis.errors import FieldViolation, InvalidArgument
from services.chassis.pagination import PageRequest, parse_page
from services.chassis.validation import validate
from services.config import channel_config
from services.config.access import project_of
from services.config.chain import ChainKey
from services.config.channel_config import ChannelConfig, SenderChange
from services.config.convert import CHANNELS, HOLDS, object_of, odd_numbers
from services.config.errors import SendScopeMissing
from services.config.idempotency import key_violations
from services.config.kinds import Kinds
from services.config.provider import (
    MAX_PRIORITY,
    Change,
    Draft,
    Hold,
    Position,
    config_violations,
    merge_patch,
    name_violations,
    parse_id,
    priority_violations,
    without_blank_secrets,
)
from services.config.trial import Wish

SEND_SCOPE = "messages:send"
PAGE_DEFAULT = 100
PAGE_MAX = 200
_UPDATABLE = ("name", "enabled", "priority", "hold", "config")
# Nobody can change these, and a body that was read before may well hold them: AIP-203 says to ignore such a field.
_OUTPUT_ONLY = ("id", "version", "created_at", "updated_at")
_FIXED = ("project_id", "channel", "kind")
_SENDER = ("enabled", "sender_email", "sender_name", "sender_id")
_SENDER_IGNORED = ("project_id", "channel", "created_at", "updated_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which providers are listed: of whom, from where, how many."""

    project_id: str
    channel: Channel | None
    after: Position | None
    page: PageRequest


def channel_in(number: int, path: str) -> tuple[Channel | None, list[FieldViolation]]:
    """The channel, None when none was said; a number that the contract does not have is a violation."""
    if number and number not in CHANNELS:
        return None, [FieldViolation(path, "must be CHANNEL_EMAIL or CHANNEL_SMS")]
    return CHANNELS.get(number), []


def optional_channel(number: int) -> Channel | None:
    """The channel, or None when none was said; raises InvalidArgument."""
    channel, violations = channel_in(number, "channel")
    _refuse(violations)
    return channel


def read_key(
    principal: Principal,
    request: service_pb2.GetChannelConfigRequest
    | service_pb2.ResolveChainRequest
    | service_pb2.ReorderProvidersRequest,
) -> ChainKey:
    """The project and channel a request is about; raises InvalidArgument or ProjectNotFound."""
    project, violations = project_of(principal, {"projectId": request.project_id})
    channel, more = channel_in(request.channel, "channel")
    _refuse([*validate(request), *violations, *more, *key_violations(request)])
    return ChainKey(project, _known(channel))


def read_page(principal: Principal, request: service_pb2.ListProvidersRequest) -> Page:
    """What ListProviders is asked for; raises InvalidArgument or ProjectNotFound."""
    project, violations = project_of(principal, {"projectId": request.project_id})
    channel, more = channel_in(request.channel, "channel")
    violations += more
    after: Position | None = None
    try:
        page = parse_page(
            request.page_size,
            request.page_token,
            "ListProviders",
            project,
            channel or "",
            default=PAGE_DEFAULT,
            maximum=PAGE_MAX,
            key_types=(str, int, str, str),
        )
        after = _position(page)
    except InvalidArgument as error:
        raise InvalidArgument(violations=[*violations, *error.violations]) from None
    _refuse(violations)
    return Page(project_id=project, channel=channel, after=after, page=page)


def read_draft(principal: Principal, request: service_pb2.CreateProviderRequest, kinds: Kinds) -> Draft:
    """The provider CreateProvider asks for, its config whole and checked; raises InvalidArgument or ProjectNotFound."""
    asked = request.provider
    project, violations = project_of(
        principal, {"projectId": request.project_id, "provider.projectId": asked.project_id}
    )
    violations += validate(request)
    channel, more = channel_in(asked.channel, "provider.channel")
    violations += more
    if request.HasField("provider") and not asked.channel:
        violations.append(FieldViolation("provider.channel", "is required: one of CHANNEL_EMAIL, CHANNEL_SMS"))
    if asked.name:
        violations += name_violations(asked.name, "provider.name")
    if asked.HasField("priority"):
        violations += priority_violations(asked.priority, "provider.priority")
    hold, more = _hold_of(asked)
    violations += more
    config, more = _draft_config(asked, channel, kinds)
    _refuse([*violations, *more, *key_violations(request)])
    return Draft(
        project_id=project,
        channel=_known(channel),
        kind=asked.kind,
        name=asked.name,
        enabled=asked.enabled if asked.HasField("enabled") else True,
        priority=asked.priority if asked.HasField("priority") else None,
        hold=hold or Hold.AUTOMATIC,
        config=config,
    )


def read_change(request: service_pb2.UpdateProviderRequest) -> tuple[Change, list[FieldViolation]]:
    """The change UpdateProvider asks for, and what is wrong with how; its values are checked when it is applied."""
    asked = request.provider
    if not asked.id:
        raise InvalidArgument(violations=[FieldViolation("provider.id", "is required")])
    channel, violations = channel_in(asked.channel, "provider.channel")
    known = (*_UPDATABLE, *_OUTPUT_ONLY, *_FIXED)
    chosen, more = _chosen(request.update_mask.paths, _UPDATABLE, known)
    violations += more
    if not chosen and not request.update_mask.paths:
        chosen = {name for name in _UPDATABLE if _is_set(asked, name)}
    violations += [
        FieldViolation(f"provider.{name}", "is named in updateMask and has no value")
        for name in sorted(chosen - {"name"})
        if not asked.HasField(name)  # type: ignore[arg-type]  # enabled, priority, hold, config: all have presence
    ]
    hold, unknown = _hold_of(asked)
    violations += unknown
    config, more = _config_of(asked.config)
    change = Change(
        project_id=asked.project_id or None,
        channel=channel,
        kind=asked.kind or None,
        name=asked.name if "name" in chosen else None,
        enabled=asked.enabled if "enabled" in chosen else None,
        priority=asked.priority if "priority" in chosen else None,
        hold=hold if "hold" in chosen else None,
        config=config if "config" in chosen else None,
    )
    return change, [*violations, *more, *key_violations(request)]


def read_deletion(request: service_pb2.DeleteProviderRequest) -> Channel | None:
    """The channel that the provider to delete must be on, if any; raises InvalidArgument."""
    channel, violations = channel_in(request.channel, "channel")
    _refuse([*validate(request), *violations, *key_violations(request)])
    return channel


def read_wish(
    principal: Principal, request: service_pb2.TestProviderRequest
) -> tuple[Channel | None, Wish, list[FieldViolation]]:
    """What TestProvider is asked for, and what is wrong with its config as JSON; the rest is checked against the kind.

    Raises InvalidArgument for the channel, SendScopeMissing when a real message is asked for without the scope.
    """
    channel = optional_channel(request.channel)
    if request.recipient and SEND_SCOPE not in principal.scopes:
        raise SendScopeMissing(SEND_SCOPE)
    config, problems = _config_of(request.config, "config")
    patch = config if request.HasField("config") else None
    return channel, Wish(patch=patch, recipient=request.recipient, sandbox_send=request.sandbox_send), problems


def read_sender(principal: Principal, request: service_pb2.CreateChannelConfigRequest) -> ChannelConfig:
    """The sender CreateChannelConfig asks for; raises InvalidArgument or ProjectNotFound."""
    key, violations = _sender_key(principal, request)
    asked = request.channel_config
    if key is None:
        raise InvalidArgument(violations=violations)
    config = ChannelConfig(
        project_id=key.project_id,
        channel=key.channel,
        enabled=asked.enabled if asked.HasField("enabled") else True,
        sender_email=asked.sender_email,
        sender_name=asked.sender_name,
        sender_id=asked.sender_id,
    )
    _refuse([*violations, *channel_config.violations(config, "channelConfig")])
    return config


def read_sender_change(
    principal: Principal, request: service_pb2.UpdateChannelConfigRequest
) -> tuple[ChainKey, SenderChange, list[FieldViolation]]:
    """The change UpdateChannelConfig asks for, and what is wrong with how; raises InvalidArgument, ProjectNotFound."""
    key, violations = _sender_key(principal, request)
    asked = request.channel_config
    if key is None:
        raise InvalidArgument(violations=violations)
    chosen, more = _chosen(request.update_mask.paths, _SENDER, (*_SENDER, *_SENDER_IGNORED))
    violations += more
    if not chosen and not request.update_mask.paths:
        chosen = {name for name in _SENDER if _is_set(asked, name)}
    if "enabled" in chosen and not asked.HasField("enabled"):
        violations.append(FieldViolation("channelConfig.enabled", "is named in updateMask and has no value"))
    change = SenderChange(
        enabled=asked.enabled if "enabled" in chosen else None,
        sender_email=asked.sender_email if "sender_email" in chosen else None,
        sender_name=asked.sender_name if "sender_name" in chosen else None,
        sender_id=asked.sender_id if "sender_id" in chosen else None,
    )
    return key, change, violations


def _sender_key(
    principal: Principal, request: service_pb2.CreateChannelConfigRequest | service_pb2.UpdateChannelConfigRequest
) -> tuple[ChainKey | None, list[FieldViolation]]:
    asked = request.channel_config
    said = {"projectId": request.project_id, "channelConfig.projectId": asked.project_id}
    project, violations = project_of(principal, said)
    violations += [*validate(request), *key_violations(request)]
    channel, more = channel_in(asked.channel, "channelConfig.channel")
    violations += more
    if channel is None:
        if request.HasField("channel_config") and not more:
            violations.append(FieldViolation("channelConfig.channel", "is required: one of CHANNEL_EMAIL, CHANNEL_SMS"))
        return None, violations
    return ChainKey(project, channel), violations


def _draft_config(
    asked: provider_pb2.Provider, channel: Channel | None, kinds: Kinds
) -> tuple[dict[str, Any], list[FieldViolation]]:
    patch, violations = _config_of(asked.config)
    if channel is None or not asked.kind:
        return {}, violations
    spec = kinds.find(channel, asked.kind)
    if spec is None:
        return {}, [*violations, FieldViolation("provider.provider", kinds.complaint(channel, asked.kind))]
    if violations or not asked.HasField("config"):
        return {}, violations
    config = normalise(spec, merge_patch({}, without_blank_secrets(spec, patch)))
    return config, config_violations(spec, config, "provider.config")


def _hold_of(asked: provider_pb2.Provider) -> tuple[Hold | None, list[FieldViolation]]:
    """What the operator wants, None when nothing was said; a number that the contract does not have is a violation."""
    hold = HOLDS.get(asked.hold)
    if asked.HasField("hold") and hold is None:
        return None, [FieldViolation("provider.hold", "must be HOLD_AUTOMATIC, HOLD_OUT or HOLD_IN")]
    return hold, []


def _config_of(struct: Struct, path: str = "provider.config") -> tuple[dict[str, Any], list[FieldViolation]]:
    config = object_of(struct)
    odd = [FieldViolation(each, "must be a number that JSON has") for each in odd_numbers(config, path)]
    return ({}, odd) if odd else (config, [])


def _chosen(
    paths: Iterable[str], updatable: Iterable[str], known: Iterable[str]
) -> tuple[set[str], list[FieldViolation]]:
    """The updatable fields that a mask names, and a violation for each path that names no field."""
    named = list(paths)
    words = ", ".join(updatable)
    violations = [
        FieldViolation("updateMask", f'"{path[:100]}" can not be updated; what can: {words}')
        for path in named
        if path not in known
    ]
    return {path for path in named if path in updatable}, violations


def _is_set(message: provider_pb2.Provider | provider_pb2.ChannelConfig, name: str) -> bool:
    return any(field.name == name for field, _ in message.ListFields())


def _position(page: PageRequest) -> Position | None:
    match page.cursor:
        case None:
            return None
        case [str(channel), int(priority), str(created), str(provider_id)]:
            found = parse_id(provider_id)
            created_at = _time(created)
            if found is not None and created_at is not None and 0 <= priority <= MAX_PRIORITY:
                return Position(channel, priority, created_at, found)
    raise InvalidArgument(violations=[FieldViolation("pageToken", "is not a token of this list")])


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo is not None else None


def _known(channel: Channel | None) -> Channel:
    if channel is None:
        raise AssertionError("the channel was checked before")
    return channel


def _refuse(violations: Iterable[FieldViolation]) -> None:
    found = list({violation.field + violation.description: violation for violation in violations}.values())
    if found:
        raise InvalidArgument(violations=found)
