"""SNS through boto3, and what a Publish to a phone number means."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from services.adapters.base import SmsContent
from tests.fakes.vendor import Received
from tests.strangers.maker import Case, Maker, plain
from tests.strangers.makers.amazon import EXEMPT, KEYS, TOKEN, client, session_token, signed_envelope
from tests.strangers.meaning import Meaning
from tests.strangers.texts import TEXTS, a_text

SENDER_ID, NUMBER = "AWS.SNS.SMS.SenderID", "AWS.MM.SMS.OriginationNumber"
TYPE, PRICE = "AWS.SNS.SMS.SMSType", "AWS.SNS.SMS.MaxPrice"
ENTITY, TEMPLATE = "AWS.MM.SMS.EntityId", "AWS.MM.SMS.TemplateId"

# `theirs` are the message attributes as the library takes them.
CASES: Mapping[str, Case] = {
    **plain(TEXTS),
    "a session token": Case(content=a_text(), settings={"sessionToken": TOKEN}),
    "a sender id of the message's own": Case(content=a_text(sender="Acme-Shop"), theirs={SENDER_ID: "Acme-Shop"}),
    "a number as the message's sender": Case(content=a_text(sender="+14155550199"), theirs={NUMBER: "+14155550199"}),
    "a short code as the message's sender": Case(content=a_text(sender="12345"), theirs={NUMBER: "12345"}),
    "the project's sender": Case(content=a_text(), call={"project_sender": "Acme"}, theirs={SENDER_ID: "Acme"}),
    "a project's sender that SNS can not carry": Case(
        content=a_text(),
        settings={"senderId": "Acme"},
        call={"project_sender": "Acme Shop"},
        theirs={SENDER_ID: "Acme"},
    ),
    "the sender id of the settings": Case(content=a_text(), settings={"senderId": "Acme"}, theirs={SENDER_ID: "Acme"}),
    "both senders of the settings": Case(
        content=a_text(),
        settings={"senderId": "Acme", "originationNumber": "+14155550199"},
        theirs={SENDER_ID: "Acme", NUMBER: "+14155550199"},
    ),
    "transactional": Case(content=a_text(), settings={"smsType": "Transactional"}, theirs={TYPE: "Transactional"}),
    "promotional": Case(content=a_text(), settings={"smsType": "Promotional"}, theirs={TYPE: "Promotional"}),
    "a highest price": Case(content=a_text(), settings={"maxPrice": 0.5}, theirs={PRICE: "0.5"}),
    "a whole highest price": Case(content=a_text(), settings={"maxPrice": 10}, theirs={PRICE: "10"}),
    "a tiny highest price": Case(content=a_text(), settings={"maxPrice": 0.0001}, theirs={PRICE: "0.0001"}),
    "India": Case(
        content=a_text(to="+919812345678"),
        settings={"senderId": "ACME", "entityId": "1101234567890123456", "templateId": "1107161234567890123"},
        theirs={SENDER_ID: "ACME", ENTITY: "1101234567890123456", TEMPLATE: "1107161234567890123"},
    ),
    "options above settings": Case(
        content=a_text(),
        settings={"smsType": "Promotional", "maxPrice": 0.5, "entityId": "1"},
        call={"options": {TYPE: "Transactional", PRICE: 0.25, TEMPLATE: "2"}},
        theirs={TYPE: "Transactional", PRICE: "0.25", ENTITY: "1", TEMPLATE: "2"},
    ),
}


def _send(case: Case, url: str) -> object:
    content = case.content
    assert isinstance(content, SmsContent)
    attributes = {
        name: {"DataType": "Number" if name == PRICE else "String", "StringValue": value}
        for name, value in (case.theirs or {}).items()
    }
    more = {"MessageAttributes": attributes} if attributes else {}
    return client("sns", url, token=session_token(case.settings)).publish(
        PhoneNumber=content.to, Message=content.text, **more
    )


def meaning(received: Received) -> Meaning:
    """Every field of a Publish; attributes by their names, whatever their numbers."""
    form = dict(parse_qsl(received.body.decode("ascii"), keep_blank_values=True, strict_parsing=True))
    fields: dict[str, Any] = signed_envelope(received, "sns")
    for name in ("Action", "Version", "PhoneNumber", "Message"):
        fields[name] = form.pop(name)
    number = 1
    while f"MessageAttributes.entry.{number}.Name" in form:
        entry = f"MessageAttributes.entry.{number}"
        value = form.pop(f"{entry}.Value.DataType"), form.pop(f"{entry}.Value.StringValue")
        fields[f"attribute {form.pop(f'{entry}.Name')}"] = value
        number += 1
    assert not form, "fields that no comparison knows"
    return fields


MAKER = Maker(
    name="sns",
    kind="sns",
    settings=lambda url: {**KEYS, "endpointUrl": url},
    cases=CASES,
    send=_send,
    meaning=meaning,
    exempt=EXEMPT,
)
