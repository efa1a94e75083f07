"""Twilio's own library, and what a request to its Messages resource means."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from services.adapters.base import SmsContent
from tests.fakes.vendor import Received
from tests.strangers.maker import ATTEMPT, MESSAGE_ID, TIME_LEFT, Case, Maker, plain
from tests.strangers.meaning import ACCEPT, AGENT, COMPRESSION, CONNECTION, Exempt, Meaning, envelope
from tests.strangers.texts import TEXTS, a_text

ACCOUNT = "AC" + "0a" * 16
SERVICE = "MG" + "0b" * 16
API_KEY = "SK" + "0c" * 16
FROM = "+15005550006"
HOOK = "https://hooks.example.com/twilio"
OURS = f"messagepipe_id={MESSAGE_ID}&messagepipe_attempt={ATTEMPT}"
FIELDS = (
    "To From MessagingServiceSid Body ValidityPeriod StatusCallback MediaUrl SmartEncoded ShortenUrls SendAsMms "
    "ProvideFeedback RiskCheck ContentRetention AddressRetention Attempt FallbackFrom"
).split()

# What `theirs` says goes to `messages.create`, above the defaults of `_send`.
CASES: Mapping[str, Case] = {
    **plain(TEXTS),
    "a sender of the message's own": Case(content=a_text(sender="+15005550001"), theirs={"from_": "+15005550001"}),
    "a name as sender": Case(content=a_text(sender="Acme Shop"), theirs={"from_": "Acme Shop"}),
    "a short code as sender": Case(content=a_text(sender="12345"), theirs={"from_": "12345"}),
    "the project's sender": Case(content=a_text(), call={"project_sender": "Acme"}, theirs={"from_": "Acme"}),
    "a messaging service": Case(
        content=a_text(),
        settings={"fromNumber": None, "messagingServiceSid": SERVICE},
        theirs={"from_": None, "messaging_service_sid": SERVICE},
    ),
    "a messaging service and the number to prefer": Case(
        content=a_text(), settings={"messagingServiceSid": SERVICE}, theirs={"messaging_service_sid": SERVICE}
    ),
    "a messaging service as the message's sender": Case(
        content=a_text(sender=SERVICE), theirs={"from_": None, "messaging_service_sid": SERVICE}
    ),
    "an API key": Case(content=a_text(), settings={"authToken": None, "apiKeySid": API_KEY, "apiKeySecret": "s:e=c"}),
    "a validity of the message's own": Case(content=a_text(validity=90), theirs={"validity_period": 90}),
    "no longer than until the deadline": Case(
        content=a_text(validity=900), call={"time_left": 30.9}, theirs={"validity_period": 30}
    ),
    "the longest validity": Case(content=a_text(), call={"time_left": 90_000.0}, theirs={"validity_period": 36_000}),
    "a callback": Case(
        content=a_text(), settings={"statusCallbackUrl": HOOK}, theirs={"status_callback": f"{HOOK}?{OURS}"}
    ),
    "a callback with a query and a fragment": Case(
        content=a_text(),
        settings={"statusCallbackUrl": f"{HOOK}?a=b&c=%20#rc=5&rp=all"},
        theirs={"status_callback": f"{HOOK}?a=b&c=%20&{OURS}#rc=5&rp=all"},
    ),
    "the service's own receipts": Case(
        content=a_text(), call={"receipts_url": HOOK}, theirs={"status_callback": f"{HOOK}?{OURS}"}
    ),
    "pictures": Case(
        content=a_text(),
        call={"options": {"MediaUrl": ["https://example.com/a.png", "https://example.com/b.png?x=1&y"]}},
        theirs={"media_url": ["https://example.com/a.png", "https://example.com/b.png?x=1&y"]},
    ),
    "switches": Case(
        content=a_text(),
        call={"options": {"SmartEncoded": True, "ShortenUrls": False, "SendAsMms": True, "ProvideFeedback": False}},
        theirs={"smart_encoded": True, "shorten_urls": False, "send_as_mms": True, "provide_feedback": False},
    ),
    "words and numbers": Case(
        content=a_text(),
        call={
            "options": {
                "RiskCheck": "disable",
                "ContentRetention": "discard",
                "AddressRetention": "obfuscate",
                "Attempt": 2,
                "FallbackFrom": "+15005550007",
            }
        },
        theirs={
            "risk_check": "disable",
            "content_retention": "discard",
            "address_retention": "obfuscate",
            "attempt": 2,
            "fallback_from": "+15005550007",
        },
    ),
}


class _Redirected(TwilioHttpClient):  # type: ignore[misc]  # the library ships no types
    """The library's own HTTP client; only the address is the test server's."""

    def __init__(self, url: str) -> None:
        super().__init__(pool_connections=False)
        self._url = url

    def request(self, method: str, url: str, *args: Any, **more: Any) -> Response:
        assert url.startswith(DEFAULT_URL), url
        return super().request(method, url.replace(DEFAULT_URL, self._url, 1), *args, **more)


DEFAULT_URL = "https://api.twilio.com"


def _send(case: Case, url: str) -> object:
    content = case.content
    assert isinstance(content, SmsContent)
    user, password = case.settings.get("apiKeySid", ACCOUNT), case.settings.get("apiKeySecret", "a-token")
    client = Client(user, password, ACCOUNT, http_client=_Redirected(url))
    given = {"from_": FROM, "validity_period": TIME_LEFT, **(case.theirs or {})}
    said = {name: value for name, value in given.items() if value is not None}
    return client.messages.create(to=content.to, body=content.text, **said)


def meaning(received: Received) -> Meaning:
    """Every field of a request to /Messages.json."""
    form = parse_qs(received.body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
    assert not form.keys() - set(FIELDS), "fields that no comparison knows"
    return envelope(received) | form


MAKER = Maker(
    name="twilio",
    kind="twilio",
    settings=lambda url: {"accountSid": ACCOUNT, "authToken": "a-token", "fromNumber": FROM, "baseUrl": url},
    cases=CASES,
    send=_send,
    meaning=meaning,
    exempt=(
        ACCEPT,
        AGENT,
        COMPRESSION,
        CONNECTION,
        Exempt("header x-twilio-client", "theirs", "the library names itself once more"),
        Exempt("header accept-charset", "theirs", "JSON is UTF-8 (RFC 8259 §8.1)"),
    ),
)
