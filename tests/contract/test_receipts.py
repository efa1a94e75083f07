"""One suite, every kind that sends receipts: what is signed is believed, one changed byte of it is not, and nothing
a stranger posts breaks anything.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.adapters.base import Channel
from services.adapters.egress import Egress
from services.adapters.email.ses_receipts import SesReceipts
from services.adapters.receipts import DETAIL_LIMIT, Receipt, ReceiptReader, ReceiptRefused, ReceiptRequest
from services.adapters.registry import BUILT_IN, build_receipt_readers, spec_for
from services.adapters.schema import settings_errors
from tests.contract.receipt_vectors import SIGNERS, VECTORS, Vector, a_request
from tests.fakes.amazon import NOW, Amazon
from tests.fakes.clock import FakeClock

BITS = (0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40)
KINDS = sorted({(vector.channel, vector.kind) for vector in VECTORS})


def readers() -> Mapping[tuple[Channel, str], ReceiptReader]:
    """Fresh readers as a process has them, with Amazon's own addresses played."""
    clock = FakeClock(NOW)
    return {
        **build_receipt_readers(Egress(), clock),
        (Channel.EMAIL, "ses"): SesReceipts(Amazon().fetch, clock),
    }


@pytest.fixture(params=VECTORS, ids=lambda vector: vector.name)
def vector(request: pytest.FixtureRequest) -> Vector:
    """Each signed call."""
    found: Vector = request.param
    return found


async def test_every_vector_verifies(vector: Vector) -> None:
    """A properly signed call is read, and says which message it is about."""
    [receipt] = await readers()[vector.channel, vector.kind].read(vector.request, vector.config)
    assert (receipt.status, receipt.provider_message_id) == (vector.status, vector.provider_message_id)
    assert receipt.message_id == vector.message_id


def _with_body(vector: Vector, body: bytes) -> tuple[ReceiptRequest, Mapping[str, Any]]:
    return replace(vector.request, body=body), vector.config


def _changed(text: str) -> Iterator[str]:
    for index, character in enumerate(text):
        for bit in BITS:
            yield text[:index] + chr(ord(character) ^ bit) + text[index + 1 :]


def _changed_bytes(body: bytes) -> Iterator[bytes]:
    for index, byte in enumerate(body):
        for bit in (*BITS, 0x80):
            yield body[:index] + bytes([byte ^ bit]) + body[index + 1 :]
        yield body[:index] + body[index + 1 :]
    yield from (body + b"\n", body.rstrip() + b"\n", b"")


def forgeries(vector: Vector) -> Iterator[tuple[str, ReceiptRequest, Mapping[str, Any]]]:
    """The call with one bit of one byte flipped, for every bit of everything that is signed, and with bytes missing."""
    body = vector.request.body
    for forged in _changed_bytes(body) if vector.body_signed else ():
        if not vector.same_body(body, forged):
            yield repr(forged), *_with_body(vector, forged)
    if vector.url_signed:
        for url in _changed(vector.request.url):
            yield url, replace(vector.request, url=url), vector.config
    for name in vector.headers_signed:
        for value in _changed(vector.request.headers[name]):
            headers = {**vector.request.headers, name: value}
            yield f"{name}: {value}", replace(vector.request, headers=headers), vector.config
        without = {key: value for key, value in vector.request.headers.items() if key != name}
        yield f"without {name}", replace(vector.request, headers=without), vector.config
    for path in vector.members_signed:
        said = json.loads(body)
        for value in _changed(said[path[0]][path[1]]):
            forged = json.dumps({**said, path[0]: {**said[path[0]], path[1]: value}}).encode()
            yield f"{path}: {value}", *_with_body(vector, forged)


async def test_every_changed_byte_is_refused(vector: Vector) -> None:
    """Flip any bit of what is signed, or leave a byte or a header out, and the call is refused."""
    reader = readers()[vector.channel, vector.kind]
    passed = [what for what, request, config in forgeries(vector) if await _passes(reader, request, config)]
    assert passed == []


async def test_another_key_is_refused(vector: Vector) -> None:
    """One changed character of the key, or none at all, and the call is refused."""
    reader = readers()[vector.channel, vector.kind]
    for name in vector.settings_signed:
        keys = [key for key in _changed(vector.config[name]) if "," not in key and key.strip() == key]
        passed = [key for key in keys if await _passes(reader, vector.request, {**vector.config, name: key})]
        assert passed == []
    with pytest.raises(ReceiptRefused, match="no_"):
        await reader.read(vector.request, {})


async def _passes(reader: ReceiptReader, request: ReceiptRequest, config: Mapping[str, Any]) -> bool:
    try:
        await reader.read(request, config)
    except ReceiptRefused:
        return False
    return True


async def test_two_keys_while_one_replaces_the_other() -> None:
    """A secret may be two with a comma between, and either proves a call (reliability.md S21)."""
    several = {"webhookPublicKey", "webhookSigningKey", "webhookSharedKeySecret", "webhookSecret", "receiptSecret"}
    for vector in VECTORS:
        for name in several.intersection(vector.settings_signed):
            key = vector.config[name]
            for both in (f"{key},{key[::-1]}", f"{key[::-1]},{key}"):
                if name == "webhookPublicKey":
                    both = both.replace(key[::-1], key.replace("Zw==", "Zg=="))  # noqa: PLW2901 - valid base64
                    both = both.replace("Zg==", "ZA==")  # noqa: PLW2901
                assert await readers()[vector.channel, vector.kind].read(vector.request, {**vector.config, name: both})


HOSTILE_TEXT = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["", "\x00", "a\r\nb", "\ud800", "x" * 2000, "1" * 30, "delivered", "DELIVERED", "failed", "bounce", "dropped",
         "Delivery", "Bounce", "Complaint", "Permanent", "undelivered", "30005", "SUCCESS", "FAILURE", "1e400",
         "2023-11-14T22:13:20.000Z", "9999-12-31T23:59:59.999999+14:00", "0001-01-01T00:00:00+14:00"]
    ),
)  # fmt: skip
NAMES = st.sampled_from(
    ["event", "timestamp", "email", "type", "reason", "sg_event_id", "sg_message_id", "messagepipe_id", "severity",
     "delivery-status", "code", "enhanced-code", "message", "headers", "message-id", "user-variables", "recipient",
     "eventType", "notificationType", "mail", "messageId", "tags", "destination", "bounce", "bounceType",
     "bouncedRecipients", "delivery", "recipients", "complaint", "name", "value", "MessageStatus", "MessageSid",
     "ErrorCode", "To", "ErrorMessage", "status", "message_id", "receiver", "notification", "providerResponse",
     "logEvents", "awslogs", "data", "signature", "token", "Type", "Message", "TopicArn", "Signature"]
)  # fmt: skip
HOSTILE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.integers(min_value=10**300), st.floats(), HOSTILE_TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=8)),
    max_leaves=25,
)


def sound(receipt: Receipt) -> bool:
    """Whether a receipt can be stored and logged: clean text of bounded length, and a moment with its zone."""
    texts = (
        receipt.provider_message_id,
        receipt.message_id,
        receipt.event_id,
        receipt.recipient,
        receipt.provider_status,
        receipt.detail,
    )
    clean = all(len(text) <= DETAIL_LIMIT + 12 and text.isprintable() for text in map(_visible, texts))
    return clean and len(receipt.detail) <= DETAIL_LIMIT and (receipt.occurred_at is None or _zoned(receipt))


def _visible(text: str) -> str:
    """The text without what `isprintable` dislikes and every store takes: odd spaces and unassigned characters."""
    text.encode()
    assert not any(character in text for character in "\x00\r\n\u2028\u2029")
    return "x" * len(text)


def _zoned(receipt: Receipt) -> bool:
    return receipt.occurred_at is not None and receipt.occurred_at.tzinfo is not None


@pytest.mark.parametrize("key", KINDS, ids=lambda key: key[1])
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(said=HOSTILE)
async def test_hostile_words_in_a_signed_call(key: tuple[Channel, str], said: object) -> None:
    """Whatever a signed call says, it is read into receipts that can be kept, or into none."""
    request, config = SIGNERS[key](said)
    assert all(sound(receipt) for receipt in await readers()[key].read(request, config))


@pytest.mark.parametrize("key", KINDS, ids=lambda key: key[1])
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(body=st.one_of(st.binary(max_size=200), HOSTILE.map(lambda said: json.dumps(said).encode())))
async def test_hostile_bodies_without_a_signature(key: tuple[Channel, str], body: bytes) -> None:
    """Whatever a stranger posts is refused, and nothing but that."""
    config = next(vector.config for vector in VECTORS if (vector.channel, vector.kind) == key)
    with pytest.raises(ReceiptRefused):
        await readers()[key].read(a_request(key[1], body), config)


@pytest.mark.parametrize("key", KINDS, ids=lambda key: key[1])
async def test_nesting_without_end(key: tuple[Channel, str]) -> None:
    """A body nested a hundred thousand deep is refused like any other stranger's."""
    config = next(vector.config for vector in VECTORS if (vector.channel, vector.kind) == key)
    with pytest.raises(ReceiptRefused):
        await readers()[key].read(a_request(key[1], b"[" * 100_000), config)


def test_who_promises_receipts_reads_them() -> None:
    """A kind says that receipts may come exactly when there is a reader, and its schema says how or that none does."""
    for kind in BUILT_IN:
        assert kind.spec.capabilities.receipts == (kind.receipts is not None), kind.spec.kind
        said = kind.spec.config_schema["description"].lower()
        assert "receipts" in said
        assert ("no receipts ever come" in said) == (kind.receipts is None)


def test_settings_of_receipts_are_known(vector: Vector) -> None:
    """Every setting a reader asks for is in the kind's schema and takes what is used here."""
    spec = spec_for(vector.channel, vector.kind)
    assert spec is not None
    asked = {path for path, _ in settings_errors(spec, vector.config)}
    assert not asked.intersection(vector.config), asked
