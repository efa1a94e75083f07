"""Between the contract and our values: defaults, limits, numbers, both ways."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from messagepipe.config.v1 import provider_pb2
from messagepipe.dispatch.v1 import attempt_pb2, message_pb2
from messagepipe.type.v1 import channel_pb2

from services.adapters.base import Address, Channel, SmsContent
from services.adapters.outcome import Outcome
from services.chassis.errors import FieldViolation
from services.dispatch.convert import (
    CHANNEL_CODES,
    CHANNELS,
    DEFAULT_TTL,
    MAX_TTL,
    OUTCOME_CODES,
    OUTCOMES,
    attempt_to_proto,
    chain_from_proto,
    duration,
    labels_of,
    message_from_spec,
    result_from_columns,
    settings_from_struct,
    state_from_code,
    state_to_proto,
    stored_message,
    timestamp,
)
from services.dispatch.message import Message, Policy, State, UnknownPolicy
from tests.builders import MESSAGE_ID, NOON, PROJECT, a_result, a_spec, an_attempt, seconds

EMAIL, SMS = channel_pb2.CHANNEL_EMAIL, channel_pb2.CHANNEL_SMS


def read(**values: Any) -> Message | tuple[FieldViolation, ...]:
    """What becomes of a spec with these fields."""
    return message_from_spec(a_spec(**values), message_id=MESSAGE_ID, project_id=PROJECT, now=NOON)


def a_read(**values: Any) -> Message:
    """The message of a spec that is fine."""
    message = read(**values)
    assert isinstance(message, Message), message
    return message


def paths(**values: Any) -> list[str]:
    """Where a spec is wrong."""
    found = read(**values)
    assert not isinstance(found, Message)
    return [violation.field for violation in found]


def at(moment: Any) -> Timestamp:
    """The moment as a field."""
    value = timestamp(moment)
    assert value is not None
    return value


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-9, minutes=30))])))
def test_a_moment_is_told_as_protobuf_tells_it(moment: datetime) -> None:
    """Any moment, before 1970 too and in any zone, to the microsecond."""
    theirs = Timestamp()
    theirs.FromDatetime(moment)

    assert at(moment) == theirs


def test_every_channel_and_outcome_has_the_contracts_number() -> None:
    """Our channels and outcomes are those of the contract, one to one, without UNSPECIFIED."""
    assert set(CHANNELS) == set(channel_pb2.Channel.values()) - {0}
    assert {CHANNELS[code]: code for code in CHANNELS} == CHANNEL_CODES
    assert set(CHANNEL_CODES) == set(Channel)
    assert set(OUTCOMES) == set(attempt_pb2.Attempt.Outcome.values()) - {0}
    assert set(OUTCOME_CODES) == set(Outcome)
    assert all(attempt_pb2.Attempt.Outcome.Name(code) == f"OUTCOME_{word}" for word, code in OUTCOME_CODES.items())


@pytest.mark.parametrize("state", list(State))
def test_states_go_both_ways(state: State) -> None:
    """Every state survives the way to its number and back, and the number is the contract's."""
    code = state_to_proto(state)

    assert state_from_code(code) is state
    assert message_pb2.Message.State.Name(code) == f"STATE_{state}"


def test_the_defaults_of_a_message() -> None:
    """One try, one round, no preference, AT_LEAST_ONCE, an hour to live."""
    message = a_read()

    assert message.policy == Policy()
    assert (message.deadline, message.created_at) == (NOON + DEFAULT_TTL, NOON)
    assert (message.id, message.project_id, message.channel) == (MESSAGE_ID, PROJECT, Channel.EMAIL)


def test_a_policy_is_what_was_asked_for() -> None:
    """Every field of the policy arrives."""
    message = a_read(
        preferred_provider="ses",
        preferred_provider_strict=True,
        max_tries=10,
        max_rounds=10,
        unknown_policy=message_pb2.UNKNOWN_POLICY_AT_MOST_ONCE,
    )

    assert message.policy == Policy(
        preferred_provider="ses", strict=True, max_tries=10, max_rounds=10, on_unknown=UnknownPolicy.AT_MOST_ONCE
    )


def test_a_text_message() -> None:
    """An SMS spec makes SMS content."""
    message = a_read(channel=SMS, to="+14155550100", subject="", sender="Shop")

    assert message.channel is Channel.SMS
    assert message.content == SmsContent(sender="Shop", to="+14155550100", text="Hello, Ada.")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"channel": 0}, ["message.channel"]),
        ({"channel": 99}, ["message.channel"]),
        ({"channel": 0, "max_tries": 11}, ["message.channel", "message.maxTries"]),
        ({"max_tries": 11}, ["message.maxTries"]),
        ({"max_tries": -1}, ["message.maxTries"]),
        ({"max_rounds": 11}, ["message.maxRounds"]),
        ({"preferred_provider": "a\nb"}, ["message.preferredProvider"]),
        ({"preferred_provider": "x" * 101}, ["message.preferredProvider"]),
        ({"unknown_policy": 7}, ["message.unknownPolicy"]),
        ({"ttl": Duration(seconds=0)}, ["message.ttl"]),
        ({"ttl": Duration(seconds=-5)}, ["message.ttl"]),
        ({"ttl": Duration(seconds=int(MAX_TTL.total_seconds()) + 1)}, ["message.ttl"]),
        ({"ttl": Duration(seconds=315_576_000_000)}, ["message.ttl"]),
        ({"deadline": at(NOON + MAX_TTL + seconds(1))}, ["message.deadline"]),
        ({"deadline": Timestamp(seconds=10**15)}, ["message.deadline"]),
        ({"deadline": at(NOON), "ttl": Duration(seconds=5)}, ["message.ttl"]),
        ({"to": "nobody", "max_tries": 11, "ttl": Duration()}, ["message.to", "message.maxTries", "message.ttl"]),
    ],
)
def test_violations_of_the_policy(values: dict[str, Any], expected: list[str]) -> None:
    """Each is told at its JSON path, together with those of the content."""
    assert paths(**values) == expected


@pytest.mark.parametrize(
    ("values", "deadline"),
    [
        ({"ttl": Duration(seconds=30)}, NOON + seconds(30)),
        ({"ttl": Duration(seconds=int(MAX_TTL.total_seconds()))}, NOON + MAX_TTL),
        ({"ttl": Duration(nanos=1000)}, NOON + timedelta(microseconds=1)),
        ({"deadline": at(NOON + seconds(90))}, NOON + seconds(90)),
        ({"deadline": at(NOON - seconds(90))}, NOON - seconds(90)),
    ],
)
def test_deadlines(values: dict[str, Any], deadline: Any) -> None:
    """A ttl counts from acceptance; a deadline stands as it is, also one that is past (X13)."""
    assert a_read(**values).deadline == deadline


@pytest.mark.parametrize("field", [{"ttl": Duration(seconds=30)}, {"deadline": at(NOON + seconds(30))}, {}])
def test_a_stored_message_keeps_its_deadline(field: dict[str, Any]) -> None:
    """R11: taken up again however late, a message has the deadline of its acceptance."""
    spec = a_spec(max_tries=3, **field).SerializeToString()

    message = stored_message(
        spec,
        message_id=MESSAGE_ID,
        project_id=PROJECT,
        deadline=NOON + seconds(30),
        created_at=NOON + timedelta(days=30),
    )

    assert isinstance(message, Message)
    assert (message.deadline, message.policy.max_tries) == (NOON + seconds(30), 3)


def a_link(name: str, **values: Any) -> provider_pb2.Chain.Link:
    """One provider of a chain with opened settings."""
    opened = Struct()
    opened.update({"apiKey": "k", "port": 587})
    given = {"id": name, "kind": name.lower(), "name": name, "enabled": True, "version": 3}
    return provider_pb2.Chain.Link(provider=provider_pb2.Provider(**{**given, **values}), opened_config=opened)


def test_a_chain_as_configservice_resolved_it() -> None:
    """Order, versions, opened settings, disabled ones, the sender, and which kinds have an idempotency key."""
    resolved = provider_pb2.Chain(
        project_id=PROJECT,
        channel=EMAIL,
        version=9,
        channel_config=provider_pb2.ChannelConfig(enabled=True, sender_email="shop@example.com", sender_name="Shop"),
        links=[a_link("B"), a_link("A", enabled=False)],
    )

    chain = chain_from_proto(resolved, frozenset({(Channel.EMAIL, "a"), (Channel.SMS, "b")}))

    assert (chain.project_id, chain.channel, chain.version, chain.enabled) == (PROJECT, Channel.EMAIL, 9, True)
    assert chain.sender == Address(email="shop@example.com", name="Shop")
    assert [(each.id, each.enabled, each.idempotent, each.version) for each in chain.providers] == [
        ("B", True, False, 3),
        ("A", False, True, 3),
    ]
    assert chain.providers[0].config == {"apiKey": "k", "port": 587}


@pytest.mark.parametrize(
    ("channel", "config", "sender"),
    [
        (SMS, provider_pb2.ChannelConfig(enabled=True, sender_id="Shop"), "Shop"),
        (SMS, provider_pb2.ChannelConfig(enabled=True), None),
        (EMAIL, provider_pb2.ChannelConfig(enabled=True), None),
    ],
)
def test_the_sender_of_a_channel(channel: Any, config: provider_pb2.ChannelConfig, sender: str | None) -> None:
    """A channel without a sender leaves it to the provider."""
    assert chain_from_proto(provider_pb2.Chain(channel=channel, channel_config=config), frozenset()).sender == sender


def test_a_channel_that_was_never_configured_is_enabled() -> None:
    """No channel configuration means enabled; one that says no means no."""
    assert chain_from_proto(provider_pb2.Chain(channel=EMAIL), frozenset()).enabled
    off = provider_pb2.ChannelConfig(enabled=False)
    assert not chain_from_proto(provider_pb2.Chain(channel=EMAIL, channel_config=off), frozenset()).enabled


def test_whole_numbers_come_back_whole() -> None:
    """A Struct only knows doubles; whole ones are the integers they were written as, at any depth."""
    struct = Struct()
    struct.update({"port": 587, "ratio": 0.5, "on": True, "list": [1, {"deep": 2}], "text": "3", "none": None})

    settings = settings_from_struct(struct)

    assert settings == {"port": 587, "ratio": 0.5, "on": True, "list": [1, {"deep": 2}], "text": "3", "none": None}
    assert isinstance(settings["port"], int)
    assert settings["on"] is True


def test_an_attempt_as_clients_see_it() -> None:
    """A finished attempt tells everything, an open one has no outcome and no end."""
    result = a_result("deferred", provider_code="429", provider_text="slow", provider_message_id="m", retry_after=1.5)
    done = attempt_to_proto(an_attempt("A", result, number=2, round=3, started_at=NOON, latency=0.25))
    still_open = attempt_to_proto(an_attempt("A", None))

    assert (done.number, done.round, done.kind, done.provider_name) == (2, 3, "a", "A")
    assert (done.reason, done.provider_code, done.provider_text) == ("UNAVAILABLE", "429", "slow")
    assert done.retry_after.ToTimedelta() == seconds(1.5)
    assert done.latency.ToTimedelta() == seconds(0.25)
    assert still_open.outcome == attempt_pb2.Attempt.OUTCOME_UNSPECIFIED
    assert not still_open.HasField("finished_at")
    assert not still_open.HasField("retry_after")


def test_a_result_read_from_its_columns() -> None:
    """What the columns of an attempt hold is the result that was written; the scope is the mark's."""
    result = a_result("unknown", provider_code="504", provider_text="t", provider_message_id="m", retry_after=2.0)
    row = {
        "outcome": OUTCOME_CODES[result.outcome],
        "reason": result.reason,
        "provider_code": "504",
        "provider_text": "t",
        "provider_message_id": "m",
        "retry_after": 2.0,
    }

    assert result_from_columns(row) == result


def test_what_is_not_there_stays_unset() -> None:
    """None leaves a field unset."""
    assert timestamp(None) is None
    assert duration(None) is None


@pytest.mark.parametrize("given", [0.0, -1.0, 7 * 86400 + 1.0])
def test_a_receipt_timeout_out_of_range(given: float) -> None:
    """receiptTimeout is more than 0 s and at most 7 days."""
    assert paths(receipt_timeout=duration(given)) == ["message.receiptTimeout"]


def test_silence_under_at_most_once() -> None:
    """receiptTimeout may send twice, which AT_MOST_ONCE forbids; failoverOnReceipt may not, and is fine."""
    once = message_pb2.UNKNOWN_POLICY_AT_MOST_ONCE
    accepted = a_read(failover_on_receipt=True, unknown_policy=once)

    assert paths(receipt_timeout=duration(1.0), unknown_policy=once) == ["message.receiptTimeout"]
    assert (accepted.policy.failover_on_receipt, accepted.policy.receipt_timeout) == (True, None)


def test_labels_hold_what_receipts_need() -> None:
    """Copies as bare addresses, the policy, tags and metadata; no payload."""
    fields = {"cc": ["Bob <bob@example.com>"], "bcc": ["eve@example.com"], "failover_on_receipt": True, "tags": ["t"]}
    labels = labels_of(a_spec(**fields), a_read(**fields))

    assert (list(labels.cc), list(labels.bcc)) == (["bob@example.com"], ["eve@example.com"])
    assert (labels.failover_on_receipt, list(labels.tags), labels.text, labels.to) == (True, ["t"], "", "")


def test_options_with_numbers_that_json_does_not_have() -> None:
    """No provider could be handed them."""
    options = Struct()
    options.update({"sendgrid": {"x": [float("inf")]}})
    assert paths(provider_options=options) == ["message.providerOptions.sendgrid.x[0]"]
