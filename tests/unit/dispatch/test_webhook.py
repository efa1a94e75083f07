"""What a webhook is, what follows a post that failed, and how an event reads: pure."""

import json
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import pytest
from messagepipe.dispatch.v1 import message_pb2
from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent
from messagepipe.type.v1.channel_pb2 import CHANNEL_EMAIL

from services.adapters.base import Channel
from services.adapters.receipts import ReceiptStatus
from services.dispatch.convert import RECEIPT_CODES
from services.dispatch.errors import DatabaseUnavailable
from services.dispatch.records import StoredEvent
from services.dispatch.webhook import (
    BOTH_SIGN,
    TYPES,
    Answer,
    Disabled,
    Next,
    Sealed,
    Webhook,
    after_failure,
    check,
    id_of,
    new_secret,
)
from services.dispatch.webhook_payload import Subject, body_of, type_of
from services.dispatch.webhooks import WebhookDesk
from tests.builders import MESSAGE_ID, NOON, PROJECT, seconds
from tests.fakes.clock import FakeClock

STATES = message_pb2.Message.State
REFUSED = Answer(status=500, error="HTTP 500")


def a_webhook(**values) -> Webhook:
    """An endpoint that wants everything."""
    given = {
        "id": UUID(int=7),
        "project_id": PROJECT,
        "url": "https://example.com/hook",
        "secret": Sealed(key_id="k", data=b"new", version=2),
        "created_at": NOON,
    }
    return Webhook(**{**given, **values})


def then(answer: Answer = REFUSED, **values) -> Next:
    """What follows, with no jitter to either side."""
    given = {"tries": 1, "first_try_at": NOON, "failing_since": None, "now": NOON, "fraction": 0.5}
    return after_failure(answer, **{**given, **values})


def test_waits_grow_and_have_jitter():
    """Five seconds, threefold each time, six hours at most; a quarter to either side."""
    assert [then(tries=tries).delay for tries in (1, 2, 3, 12, 500)] == [5, 15, 45, 21600, 21600]
    assert (then(fraction=0.0).delay, then(fraction=1.0).delay) == (3.75, 6.25)


def test_a_post_is_tried_for_72_hours():
    """The last try begins within them; the endpoint stays enabled."""
    late = NOON + timedelta(hours=71, minutes=59, seconds=56)
    assert then(now=late) == Next(delay=None)
    assert then(now=late - seconds(2)).delay == 5


def test_five_days_of_failure_switch_the_endpoint_off():
    """Not a second earlier, and only what fails on end."""
    now = NOON + timedelta(days=9)
    since = now - timedelta(days=5)
    assert then(first_try_at=now, failing_since=since, now=now).disables is Disabled.FAILED_FOR_5_DAYS
    assert then(first_try_at=now, failing_since=since + seconds(1), now=now).disables is None
    assert then(first_try_at=now, failing_since=None, now=now).disables is None


def test_gone_is_believed_at_once():
    """410 is the standard's way to be told no more."""
    assert then(Answer(status=410, error="HTTP 410")) == Next(delay=None, disables=Disabled.GONE)


def test_only_2xx_takes_an_event():
    """No answer, a redirect and every refusal are failures."""
    assert [Answer(status=status).taken for status in (0, 199, 200, 204, 299, 302, 404, 500)] == [
        status // 100 == 2 for status in (0, 199, 200, 204, 299, 302, 404, 500)
    ]


def test_two_secrets_sign_for_a_day():
    """The newest first; after that it signs alone."""
    older = Sealed(key_id="k", data=b"old", version=1)
    webhook = a_webhook(older=older, older_until=NOON + BOTH_SIGN)
    assert webhook.signers(NOON + BOTH_SIGN - seconds(1)) == (webhook.secret, older)
    assert webhook.signers(NOON + BOTH_SIGN) == (webhook.secret,)
    assert a_webhook().signers(NOON) == (webhook.secret,)


def test_a_secret_is_as_the_standard_writes_it():
    """whsec_ and 32 bytes in base64, another one each time; no representation shows it or the url."""
    assert new_secret(bytes) == "whsec_" + "A" * 43 + "="
    assert new_secret() != new_secret()
    assert "example" not in repr(a_webhook())
    assert "new" not in repr(a_webhook())


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://example.com/hook?x=1", True),
        ("https://example.com:8443/", True),
        ("http://127.0.0.1:9/", True),
        ("http://example.com/", False),
        ("ftp://example.com/", False),
        ("https:///x", False),
        ("https://u:p@example.com/", False),
        ("https://example.com/#x", False),
        ("https://exa mple.com/", False),
        ("https://example.com:99999/", False),
        ("https://[::1/", False),
        ("https://example.com/" + "x" * 2000, False),
        ("", False),
    ],
)
def test_where_may_be_posted(url, good):
    """https without user or fragment; http only where the operator allows it."""
    findings = check(url, "", [], lambda host: host == "127.0.0.1", "webhook")
    assert [violation.field for violation in findings.violations] == ([] if good else ["webhook.url"])


def test_everything_that_is_wrong_is_told_at_once():
    """By the path of each field."""
    found = check("", "x" * 201, ["message.sent", "message.eaten"], lambda _: False, "webhook").violations
    assert [violation.field for violation in found] == ["webhook.url", "webhook.description", "webhook.types[1]"]


def test_the_id_is_the_event_s_own():
    """The same for every post of it, another one for each other event; no dot, which the signature divides by."""
    assert id_of(MESSAGE_ID, 3) == f"evt_{MESSAGE_ID.hex}_3"
    assert "." not in id_of(MESSAGE_ID, 3)


def a_stored(event: DeliveryEvent, sequence: int = 3) -> StoredEvent:
    """The event as read from the database."""
    return StoredEvent(message_id=MESSAGE_ID, sequence=sequence, at=NOON, payload=event.SerializeToString())


def test_what_a_newer_version_tells_is_passed_by():
    """While versions are mixed: a state that has no word here, an event of another kind, and what can not be read."""
    newer = DeliveryEvent()
    newer.completed.state = 99  # type: ignore[assignment] # no word of this version
    assert [type_of(told) for told in (newer.SerializeToString(), b"", b"\xff")] == ["", "", ""]


async def test_an_endpoint_that_can_not_be_told_stops_nothing():
    """Whatever it is: the dispatcher goes on with the others; only a database that is away is waited for."""
    told, ids = [], [UUID(int=1), UUID(int=2)]

    class Broken:
        """A database in which one endpoint's events can not be read."""

        @asynccontextmanager
        async def connection(self):
            yield self

        @asynccontextmanager
        async def transaction(self):
            yield self

        async def fetch(self, *_arguments):
            return [{"id": each} for each in ids]

        async def fetchrow(self, _statement, webhook_id):
            told.append(webhook_id)
            raise ValueError("can not be read") if webhook_id == ids[0] else DatabaseUnavailable

    desk = WebhookDesk(cast(Any, Broken()), cast(Any, None), cast(Any, None), FakeClock(), lambda: 0.5)
    with pytest.raises(DatabaseUnavailable):
        await desk._take_over()
    assert told == ids


def test_every_event_has_a_type_of_the_list():
    """Each kind of DeliveryEvent, each end and each receipt; and nothing in the list is never posted."""
    seen = set()
    for field in DeliveryEvent.DESCRIPTOR.oneofs_by_name["event"].fields:
        made = DeliveryEvent()
        getattr(made, field.name).SetInParent()
        if field.name in ("completed", "ended_again"):
            for number in STATES.values()[3:]:
                getattr(made, field.name).state = number
                seen.add(type_of(made.SerializeToString()))
        elif field.name == "receipt":
            for status in ReceiptStatus:
                made.receipt.status = RECEIPT_CODES[status]
                seen.add(type_of(made.SerializeToString()))
        else:
            seen.add(type_of(made.SerializeToString()))
    assert seen == TYPES
    assert type_of(DeliveryEvent().SerializeToString()) == ""


def test_a_payload_says_what_happened_to_whom():
    """Type, time and data, with the message's recipient, tags and metadata; the same text each time."""
    labels = message_pb2.MessageSpec(tags=["welcome"], metadata={"order": "7"}).SerializeToString()
    subject = Subject(channel=Channel.EMAIL, recipient="ada@example.com", labels=labels)
    told = DeliveryEvent(completed=DeliveryEvent.Completed(state=STATES.STATE_SENT, kind="ses", attempts=2))
    body = body_of(a_stored(told), PROJECT, subject)
    assert json.loads(body) == {
        "type": "message.sent",
        "timestamp": "2026-01-01T12:00:00Z",
        "data": {
            "projectId": PROJECT,
            "messageId": str(MESSAGE_ID),
            "sequence": 3,
            "channel": "EMAIL",
            "recipient": "ada@example.com",
            "tags": ["welcome"],
            "metadata": {"order": "7"},
            "state": "SENT",
            "provider": "ses",
            "attempts": 2,
        },
    }
    assert body == body_of(a_stored(told), PROJECT, replace(subject))


def test_an_event_about_a_provider_names_no_message():
    """It has none."""
    told = DeliveryEvent(
        provider_degraded=DeliveryEvent.ProviderDegraded(provider_id="p-1", channel=CHANNEL_EMAIL, reason="DENIED")
    )
    assert json.loads(body_of(a_stored(told), PROJECT, None))["data"] == {
        "projectId": PROJECT,
        "sequence": 3,
        "providerId": "p-1",
        "channel": "EMAIL",
        "reason": "DENIED",
    }
