"""From our values to the contract's messages. Requests are read in requests.py."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from messagepipe.config.v1 import config_service_pb2 as service_pb2
from messagepipe.config.v1 import provider_pb2, provider_schema_pb2
from messagepipe.type.v1 import channel_pb2

from services.adapters.base import Channel, ProviderSpec
from services.config.chain import Announcement, Chain, Link
from services.config.channel_config import KeptChannelConfig
from services.config.kinds import Kinds
from services.config.provider import Hold, Provider, split
from services.config.trial import Finding

CHANNELS: Mapping[int, Channel] = {channel_pb2.CHANNEL_EMAIL: Channel.EMAIL, channel_pb2.CHANNEL_SMS: Channel.SMS}

HOLD_CODES = {hold: provider_pb2.Provider.Hold.Value(f"HOLD_{hold}") for hold in Hold}
HOLDS = {code: hold for hold, code in HOLD_CODES.items()}


def channel_number(channel: Channel) -> "channel_pb2.Channel.ValueType":
    """The contract's enum value."""
    return channel_pb2.Channel.Value(f"CHANNEL_{channel}")


def provider_message(provider: Provider, kinds: Kinds) -> provider_pb2.Provider:
    """The provider as anybody may see it: without a secret, even one that only today's schema calls so."""
    spec = kinds.find(provider.channel, provider.kind)
    shown = provider.settings if spec is None else split(spec, provider.settings)[0]
    message = _bare_provider(provider)
    message.config.CopyFrom(struct_of(shown))
    return message


def without_secrets(message: provider_pb2.Provider, kinds: Kinds) -> provider_pb2.Provider:
    """A provider as it was shown once, without what today's schema calls a secret."""
    spec = kinds.find(CHANNELS[message.channel], message.kind)
    if spec is not None:
        message.config.CopyFrom(struct_of(split(spec, object_of(message.config))[0]))
    return message


def channel_config_message(kept: KeptChannelConfig) -> provider_pb2.ChannelConfig:
    """The sender and the switch of one channel."""
    value = kept.value
    return provider_pb2.ChannelConfig(
        project_id=value.project_id,
        channel=channel_number(value.channel),
        enabled=value.enabled,
        sender_email=value.sender_email,
        sender_name=value.sender_name,
        sender_id=value.sender_id,
        created_at=timestamp_of(kept.created_at),
        updated_at=timestamp_of(kept.updated_at),
    )


def chain_message(chain: Chain) -> provider_pb2.Chain:
    """The chain with opened credentials: only for a caller with scope `internal`. Never log it."""
    message = provider_pb2.Chain(
        project_id=chain.key.project_id,
        channel=channel_number(chain.key.channel),
        version=chain.version,
        links=[link_message(link) for link in chain.links],
    )
    if chain.channel_config is not None:
        message.channel_config.CopyFrom(channel_config_message(chain.channel_config))
    return message


def link_message(link: Link) -> provider_pb2.Chain.Link:
    """One provider with opened credentials: only for a caller with scope `internal`. Never log it."""
    return provider_pb2.Chain.Link(provider=_bare_provider(link.provider), opened_config=struct_of(link.opened))


def announcement_message(announcement: Announcement) -> service_pb2.WatchChainsResponse:
    """One answer on a WatchChains stream."""
    changed = service_pb2.WatchChainsResponse.ChangedChain
    return service_pb2.WatchChainsResponse(
        revision=announcement.revision,
        changes=[
            changed(project_id=each.key.project_id, channel=channel_number(each.key.channel), version=each.version)
            for each in announcement.changes
        ],
    )


def schema_message(spec: ProviderSpec) -> provider_schema_pb2.ProviderSchema:
    """What a kind is and which settings it takes."""
    return provider_schema_pb2.ProviderSchema(
        kind=spec.kind,
        channel=channel_number(spec.channel),
        title=spec.title,
        description=spec.description,
        documentation_url=spec.documentation_url,
        config_schema=struct_of(spec.config_schema),
        capabilities=provider_schema_pb2.ProviderSchema.Capabilities(
            **{each.name: getattr(spec.capabilities, each.name) for each in fields(spec.capabilities)}
        ),
        options_schema=struct_of(spec.options_schema),
        limits=spec.limits,
    )


def finding_message(finding: Finding) -> service_pb2.TestProviderResponse:
    """What a test found; `sent` only when a message was."""
    message = service_pb2.TestProviderResponse(
        verdict=service_pb2.TestProviderResponse.Verdict.Value(f"VERDICT_{finding.verdict}"), message=finding.message
    )
    if (result := finding.result) is not None:
        message.sent.CopyFrom(
            service_pb2.TestProviderResponse.Sent(
                recipient=finding.recipient,
                outcome=result.outcome,
                reason=result.reason,
                provider_code=result.provider_code,
                provider_text=result.provider_text,
                provider_message_id=result.provider_message_id,
            )
        )
    return message


def struct_of(value: Mapping[str, Any]) -> Struct:
    """A JSON object as a Struct; whole numbers above 2^53 lose digits, as in all of JSON."""
    return Struct(fields={name: _value_of(each) for name, each in value.items()})


def object_of(struct: Struct) -> dict[str, Any]:
    """A Struct as a JSON object; numbers come as floats, even ones that JSON does not have (see `odd_numbers`)."""
    return {name: _python_of(value) for name, value in struct.fields.items()}


def odd_numbers(value: object, path: str) -> Iterator[str]:
    """The path of every number that is infinite or not a number: a Struct can carry what JSON can not."""
    if isinstance(value, float) and not math.isfinite(value):
        yield path
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from odd_numbers(each, f"{path}.{name}")
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from odd_numbers(each, f"{path}[{index}]")


def timestamp_of(time: datetime) -> Timestamp:
    """The same moment, to the microsecond."""
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def _bare_provider(provider: Provider) -> provider_pb2.Provider:
    return provider_pb2.Provider(
        id=str(provider.id),
        project_id=provider.project_id,
        channel=channel_number(provider.channel),
        kind=provider.kind,
        name=provider.name,
        enabled=provider.enabled,
        priority=provider.priority,
        version=provider.version,
        created_at=timestamp_of(provider.created_at),
        updated_at=timestamp_of(provider.updated_at),
        hold=HOLD_CODES[provider.hold],
    )


def _value_of(value: object) -> Value:
    match value:
        case None:
            return Value(null_value=0)  # type: ignore[arg-type]  # NULL_VALUE, the only one there is
        case bool():
            return Value(bool_value=value)
        case int() | float():
            return Value(number_value=value)
        case str():
            return Value(string_value=value)
        case Mapping():
            return Value(struct_value=struct_of(value))
        case Iterable():
            made = Value()
            made.list_value.values.extend(_value_of(each) for each in value)
            return made
    raise TypeError(f"JSON has no {type(value).__name__}")


def _python_of(value: Value) -> Any:
    match value.WhichOneof("kind"):
        case "struct_value":
            return object_of(value.struct_value)
        case "list_value":
            return [_python_of(each) for each in value.list_value.values]
        case None | "null_value":
            return None
        case kind:
            return getattr(value, kind)
