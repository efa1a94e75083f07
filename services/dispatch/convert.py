"""Between the contract's messages and our values, both ways. No rules of its own: content.py has those."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from messagepipe.config.v1 import provider_pb2
from messagepipe.dispatch.v1 import attempt_pb2, message_pb2
from messagepipe.type.v1 import channel_pb2

from services.adapters.base import Address, Attachment, Channel, EmailContent, ProviderSpec, SmsContent
from services.adapters.outcome import Outcome, Result
from services.adapters.receipts import ReceiptStatus
from services.chassis.errors import FieldViolation
from services.chassis.idempotency import key_problem
from services.dispatch.attempt import Attempt
from services.dispatch.chain import Chain, Hold, Provider
from services.dispatch.content import Draft, Findings, email_content, sms_content
from services.dispatch.message import Message, Policy, State, StateCode, UnknownPolicy
from services.dispatch.options import check_options

DEFAULT_TTL = timedelta(hours=1)
MAX_TTL = timedelta(days=7)
MAX_AHEAD = timedelta(days=30)
MAX_TRIES = 10
MAX_PREFERRED = 100
MAX_ODD = 20
NOT_JSON = "must be a number that JSON has"

CHANNELS = {channel_pb2.CHANNEL_EMAIL: Channel.EMAIL, channel_pb2.CHANNEL_SMS: Channel.SMS}
CHANNEL_CODES = {channel: code for code, channel in CHANNELS.items()}
OUTCOME_CODES = {outcome: attempt_pb2.Attempt.Outcome.Value(f"OUTCOME_{outcome}") for outcome in Outcome}
RECEIPT_CODES = {status: attempt_pb2.ReceiptStatus.Value(f"RECEIPT_STATUS_{status}") for status in ReceiptStatus}
OUTCOMES = {code: outcome for outcome, code in OUTCOME_CODES.items()}
_CONTENT: Mapping[Channel, Callable[[Draft, Findings], EmailContent | SmsContent | None]] = {
    Channel.EMAIL: email_content,
    Channel.SMS: sms_content,
}
Kinds = Mapping[Channel, Mapping[str, ProviderSpec]]
_HOLDS = {provider_pb2.Provider.Hold.Value(f"HOLD_{hold}"): hold for hold in Hold}
_EPOCH = datetime.fromtimestamp(0, UTC)
_UNKNOWN_POLICIES = frozenset(message_pb2.UnknownPolicy.values())
_AT_MOST_ONCE = message_pb2.UNKNOWN_POLICY_AT_MOST_ONCE


def message_from_spec(
    spec: message_pb2.MessageSpec,
    *,
    message_id: UUID,
    project_id: str,
    now: datetime,
    prefix: str = "message",
    kinds: Kinds | None = None,
) -> Message | tuple[FieldViolation, ...]:
    """The message that a spec asks for, or everything that is wrong with it by its JSON path below `prefix`.

    Options are checked when `kinds` are given.
    """
    findings = Findings(prefix)
    channel = CHANNELS.get(spec.channel)
    if channel is None:
        findings.add("channel", "is required: EMAIL or SMS")
    if not spec.template_id and spec.HasField("variables") and spec.variables.fields:
        findings.add("variables", "are a template's: name one in templateId")
    content = None if channel is None else _CONTENT[channel](_draft(spec), findings)
    if spec.idempotency_key and (problem := key_problem(spec.idempotency_key)):
        findings.add("idempotencyKey", problem)
    policy = _policy(spec, findings)
    options = settings_from_struct(spec.provider_options) if spec.HasField("provider_options") else {}
    for path in islice(odd_numbers(options, "providerOptions"), MAX_ODD):
        findings.add(path, NOT_JSON)
    if options and channel is not None and kinds is not None:
        check_options(options, kinds[channel], findings)
    send_at = _send_at(spec, now, findings)
    deadline = _deadline(spec, send_at or now, findings)
    if channel is None or content is None or findings.violations:
        return tuple(findings.violations)
    return Message(
        id=message_id,
        project_id=project_id,
        channel=channel,
        content=content,
        policy=policy,
        options=options,
        deadline=deadline,
        created_at=now,
        send_at=send_at,
    )


def stored_message(
    spec_bytes: bytes, *, message_id: UUID, project_id: str, deadline: datetime, created_at: datetime
) -> Message | tuple[FieldViolation, ...]:
    """The message whose spec was stored at acceptance; violations only if a rule became stricter since (a numbering
    plan, say).
    """
    spec = message_pb2.MessageSpec.FromString(spec_bytes)
    spec.ClearField("deadline")
    spec.ClearField("ttl")
    send_at = spec.send_at.ToDatetime(tzinfo=UTC) if spec.HasField("send_at") else None
    spec.ClearField("send_at")
    message = message_from_spec(spec, message_id=message_id, project_id=project_id, now=created_at)
    return replace(message, deadline=deadline, send_at=send_at) if isinstance(message, Message) else message


def _draft(spec: message_pb2.MessageSpec) -> Draft:
    return Draft(
        to=spec.to,
        sender=spec.sender,
        subject=spec.subject,
        text=spec.text,
        html=spec.html,
        # An empty list of protobuf's is quick to see, and slow to copy.
        cc=tuple(spec.cc) if spec.cc else (),
        bcc=tuple(spec.bcc) if spec.bcc else (),
        reply_to=spec.reply_to,
        attachments=tuple(map(_attachment, spec.attachments)) if spec.attachments else (),
        headers=dict(spec.headers) if spec.headers else {},
        tags=tuple(spec.tags) if spec.tags else (),
        metadata=dict(spec.metadata) if spec.metadata else {},
        validity=_seconds(spec.validity_period) if spec.HasField("validity_period") else None,
    )


def _attachment(item: message_pb2.Attachment) -> Attachment:
    return Attachment(
        filename=item.filename, content_type=item.content_type, content=item.content, content_id=item.content_id
    )


def _seconds(length: Duration) -> float:
    return length.seconds + length.nanos / 1e9


def _policy(spec: message_pb2.MessageSpec, findings: Findings) -> Policy:
    for path, value in (("maxTries", spec.max_tries), ("maxRounds", spec.max_rounds)):
        if not 0 <= value <= MAX_TRIES:
            findings.add(path, f"must be between 1 and {MAX_TRIES}")
    preferred = spec.preferred_provider
    if preferred:
        findings.no_control_characters("preferredProvider", preferred)
    if len(preferred) > MAX_PREFERRED:
        findings.add("preferredProvider", f"must be at most {MAX_PREFERRED} characters")
    if spec.unknown_policy not in _UNKNOWN_POLICIES:
        findings.add("unknownPolicy", "must be AT_LEAST_ONCE or AT_MOST_ONCE")
    return Policy(
        preferred_provider=preferred,
        strict=spec.preferred_provider_strict,
        max_tries=spec.max_tries or 1,
        max_rounds=spec.max_rounds or 1,
        on_unknown=UnknownPolicy.AT_MOST_ONCE if spec.unknown_policy == _AT_MOST_ONCE else UnknownPolicy.AT_LEAST_ONCE,
        failover_on_receipt=spec.failover_on_receipt,
        receipt_timeout=_receipt_timeout(spec, findings),
    )


def _receipt_timeout(spec: message_pb2.MessageSpec, findings: Findings) -> float | None:
    if not spec.HasField("receipt_timeout"):
        return None
    seconds = _seconds(spec.receipt_timeout)
    if not 0 < seconds <= MAX_TTL.total_seconds():
        findings.add("receiptTimeout", "must be more than 0 s and at most 7 days")
    if spec.unknown_policy == _AT_MOST_ONCE:
        findings.add("receiptTimeout", "must not be given with AT_MOST_ONCE: what was silent may have been delivered")
    return seconds


def labels_of(spec: message_pb2.MessageSpec, message: Message) -> message_pb2.MessageSpec:
    """What lists and receipts need of a spec, without its payload; `cc` and `bcc` as bare addresses."""
    labels = message_pb2.MessageSpec(failover_on_receipt=spec.failover_on_receipt)
    if spec.tags:
        labels.tags.extend(spec.tags)
    if spec.metadata:
        labels.metadata.update(spec.metadata)
    if spec.template_id:
        labels.template_id, labels.template_version = spec.template_id, spec.template_version
    if message.send_at is not None:
        labels.send_at.CopyFrom(spec.send_at)
    copies = message.content if isinstance(message.content, EmailContent) else None
    if copies and copies.cc:
        labels.cc.extend(address.email for address in copies.cc)
    if copies and copies.bcc:
        labels.bcc.extend(address.email for address in copies.bcc)
    return labels


def _send_at(spec: message_pb2.MessageSpec, now: datetime, findings: Findings) -> datetime | None:
    """The moment before which nobody is called; None for at once."""
    if not spec.HasField("send_at"):
        return None
    try:
        moment = spec.send_at.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        findings.add("sendAt", "is out of range")
        return None
    if moment > now + MAX_AHEAD:
        findings.add("sendAt", f"must be at most {MAX_AHEAD.days} days ahead")
    return moment if moment > now else None


def _deadline(spec: message_pb2.MessageSpec, now: datetime, findings: Findings) -> datetime:
    """No call after it; `now` is when the message may be sent first."""
    if spec.HasField("deadline") and spec.HasField("ttl"):
        findings.add("ttl", "must not be given together with deadline")
        return now
    if not spec.HasField("deadline") and not spec.HasField("ttl"):
        return now + DEFAULT_TTL
    path = "deadline" if spec.HasField("deadline") else "ttl"
    try:
        deadline = spec.deadline.ToDatetime(tzinfo=UTC) if path == "deadline" else now + spec.ttl.ToTimedelta()
    except (ValueError, OverflowError):
        findings.add(path, "is out of range")
        return now
    if path == "ttl" and deadline <= now:
        findings.add(path, "must be more than 0 s")
    if deadline > now + MAX_TTL:
        findings.add(path, "must be at most 7 days ahead")
    if path == "deadline" and spec.HasField("send_at") and deadline <= spec.send_at.ToDatetime(tzinfo=UTC):
        findings.add(path, "must be later than sendAt")
    return deadline


def chain_from_proto(chain: provider_pb2.Chain, idempotent_kinds: frozenset[tuple[Channel, str]]) -> Chain:
    """The chain as ConfigService resolved it."""
    channel = CHANNELS[chain.channel]
    configured = chain.HasField("channel_config")
    providers = tuple(
        Provider(
            id=link.provider.id,
            kind=link.provider.kind,
            name=link.provider.name,
            enabled=link.provider.enabled,
            version=link.provider.version,
            config=settings_from_struct(link.opened_config),
            idempotent=(channel, link.provider.kind) in idempotent_kinds,
            hold=_HOLDS.get(link.provider.hold, Hold.AUTOMATIC),
        )
        for link in chain.links
    )
    return Chain(
        project_id=chain.project_id,
        channel=channel,
        version=chain.version,
        enabled=chain.channel_config.enabled if configured else True,
        sender=_sender(channel, chain.channel_config) if configured else None,
        providers=providers,
    )


def _sender(channel: Channel, config: provider_pb2.ChannelConfig) -> Address | str | None:
    if channel is Channel.SMS:
        return config.sender_id or None
    return Address(email=config.sender_email, name=config.sender_name) if config.sender_email else None


def settings_from_struct(struct: Struct) -> dict[str, Any]:
    """The settings that a Struct carries; whatever numbers it has (see `odd_numbers`)."""
    return {name: _python_of(value) for name, value in struct.fields.items()}


def odd_numbers(value: object, path: str) -> Iterator[str]:
    """The path of every number that is infinite or not a number: a Struct can carry what JSON can not."""
    if isinstance(value, float) and not math.isfinite(value):
        yield path
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from odd_numbers(each, f"{path}.{name[:100]}")
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from odd_numbers(each, f"{path}[{index}]")


def _python_of(value: Value) -> Any:
    """Structs only know doubles: 587.0 is the 587 that was written."""
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return settings_from_struct(value.struct_value)
        case "list_value":
            return [_python_of(item) for item in value.list_value.values]
        case _:
            return None


def attempt_to_proto(attempt: Attempt) -> attempt_pb2.Attempt:
    """An attempt as clients see it."""
    proto = attempt_pb2.Attempt(
        number=attempt.number,
        provider_id=attempt.provider_id,
        kind=attempt.kind,
        provider_name=attempt.provider_name,
        round=attempt.round,
        started_at=timestamp(attempt.started_at),
        finished_at=timestamp(attempt.finished_at),
        latency=duration(attempt.latency),
        receipt_at=timestamp(attempt.receipt_at),
    )
    if attempt.receipt is not None:
        proto.receipt = RECEIPT_CODES[attempt.receipt]
    if attempt.result is not None:
        result = attempt.result
        proto.outcome = OUTCOME_CODES[result.outcome]
        proto.reason = result.reason
        proto.provider_code = result.provider_code
        proto.provider_text = result.provider_text
        proto.provider_message_id = result.provider_message_id
        if result.retry_after is not None:
            proto.retry_after.FromTimedelta(timedelta(seconds=result.retry_after))
    return proto


def result_from_columns(row: Mapping[str, Any]) -> Result:
    """The result that the columns of a finished attempt hold."""
    names = ("reason", "provider_code", "provider_text", "provider_message_id", "retry_after")
    return Result(outcome=OUTCOMES[row["outcome"]], **{name: row[name] for name in names})


def state_to_proto(state: State) -> message_pb2.Message.State.ValueType:
    """A state's number in the contract; the database holds the same one."""
    return message_pb2.Message.State.ValueType(StateCode[state])


def state_from_code(code: int) -> State:
    """The state that a number stands for."""
    return State(StateCode(code).name)


def timestamp(moment: datetime | None) -> Timestamp | None:
    """A moment for a message field; None leaves it unset."""
    if moment is None:
        return None
    # By hand: FromDatetime takes three times as long, and every step of a message tells some times.
    since = moment - _EPOCH
    return Timestamp(seconds=since.days * 86400 + since.seconds, nanos=since.microseconds * 1000)


def duration(seconds: float | None) -> Duration | None:
    """A length for a message field; None leaves it unset."""
    if seconds is None:
        return None
    value = Duration()
    value.FromTimedelta(timedelta(seconds=seconds))
    return value
