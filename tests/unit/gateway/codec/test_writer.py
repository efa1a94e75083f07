"""Messages as JSON values."""

from google.protobuf import wrappers_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from messagepipe.config.v1 import provider_pb2
from messagepipe.dispatch.v1 import attempt_pb2, delivery_event_pb2, message_pb2

from gateway.codec.writer import Writers
from gateway.descriptors import type_of

WRITERS = Writers({})


def test_plain_fields_are_always_there():
    """With their defaults, enum words bare, 64 bits as text."""
    attempt = attempt_pb2.Attempt(number=1, kind="ses", latency=Duration(nanos=250_000_000))

    assert WRITERS.of(type_of(attempt))(attempt) == {
        "number": 1,
        "providerId": "",
        "provider": "ses",
        "providerName": "",
        "round": 0,
        "outcome": "UNSPECIFIED",
        "reason": "",
        "providerCode": "",
        "providerText": "",
        "providerMessageId": "",
        "latency": "0.250s",
    }


def test_what_can_be_unset_is_left_out_until_it_is_set():
    """Optional fields, messages and the members of a oneof; set to their default they are there."""
    provider = provider_pb2.Provider()
    write = WRITERS.of(type_of(provider))
    assert not {"enabled", "priority", "config", "createdAt"} & set(write(provider))

    provider.enabled, provider.priority = False, 0
    provider.config.SetInParent()
    provider.created_at.CopyFrom(Timestamp())
    written = write(provider)
    assert (written["enabled"], written["priority"], written["config"]) == (False, 0, {})
    assert written["createdAt"] == "1970-01-01T00:00:00Z"


def test_a_oneof_shows_its_one_member():
    """And no other."""
    event = delivery_event_pb2.DeliveryEvent(message_id="m", sequence=2**53 + 1)
    event.failover.to_provider = "ses"
    written = WRITERS.of(type_of(event))(event)

    assert set(written) == {"messageId", "sequence", "failover"}
    assert written["sequence"] == str(2**53 + 1)
    assert written["failover"]["outcome"] == "UNSPECIFIED"


def test_maps_are_sorted_and_bytes_are_base64():
    """The same message is the same text."""
    spec = message_pb2.MessageSpec(headers={"b": "1", "a": "2"})
    spec.attachments.add(content=b"\xfb\xff")
    written = WRITERS.of(type_of(spec))(spec)

    assert list(written["headers"]) == ["a", "b"]
    assert written["attachments"][0]["content"] == "+/8="


def test_unknown_enum_numbers_are_shown_as_numbers():
    """A newer service may know more words than this gateway."""
    message = message_pb2.Message()
    message.MergeFromString(b"\x28\x63")

    assert WRITERS.of(type_of(message))(message)["state"] == 99


def test_numbers_json_has_no_word_for_are_texts():
    """As ProtoJSON has it."""
    write = WRITERS.of(type_of(wrappers_pb2.DoubleValue()))
    values = [write(wrappers_pb2.DoubleValue(value=float(each)))["value"] for each in ("nan", "inf", "-inf", "1.5")]

    assert values == ["NaN", "Infinity", "-Infinity", 1.5]


def test_a_special_form_replaces_the_fields():
    """For a type of a reader's own choosing."""
    writers = Writers({"messagepipe.dispatch.v1.Attempt": lambda attempt: attempt.number})
    message = message_pb2.Message(attempts=[attempt_pb2.Attempt(number=7)])

    assert writers.of(type_of(message))(message)["attempts"] == [7]
