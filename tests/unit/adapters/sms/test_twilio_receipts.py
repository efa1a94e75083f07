"""What Twilio's callbacks mean, and which addresses they are signed for."""

import base64
import hmac
from dataclasses import replace

import pytest

from services.adapters.receipts import Receipt, ReceiptRefused, ReceiptStatus
from services.adapters.sms.twilio_receipts import CODES, STATUSES, TwilioReceipts
from tests.contract.receipt_vectors import OURS, TWILIO_CONFIG, TWILIO_FIELDS, a_request, body_hash, twilio_call

BY_STATUS = {
    "accepted": "ACCEPTED", "scheduled": "ACCEPTED", "queued": "ACCEPTED", "sending": "ACCEPTED", "sent": "SENT",
    "delivered": "DELIVERED", "undelivered": "FAILED", "failed": "FAILED", "canceled": "FAILED", "read": "OPENED",
    "partially_delivered": "SENT",
}  # fmt: skip
ROUTE = {30001, 30002, 30008, 30017, 30022, 30023, 30024, 30032, 30033, 30034, 30035, 30036, 30410, 30500}
BY_CODE = {
    30003: "BOUNCED_SOFT", 30004: "SUPPRESSED", 30005: "BOUNCED_HARD", 30006: "BOUNCED_HARD", 30007: "FAILED",
    30046: "SENT", 30450: "FAILED", 30453: "FAILED", 30454: "FAILED", **dict.fromkeys(ROUTE, "FAILED"),
    # codes of the API that come late; and one nobody knows
    21211: "BOUNCED_HARD", 21610: "SUPPRESSED", 21606: "FAILED", 21617: "FAILED", 99999: "FAILED",
}  # fmt: skip
LATE_ROUTE = {21606, 21617}


async def read(**fields: str) -> tuple[Receipt, ...]:
    """The receipts of one signed call."""
    request, config = twilio_call(fields)
    return await TwilioReceipts().read(request, config)


@pytest.mark.parametrize("status", sorted({*STATUSES, *BY_STATUS}))
async def test_statuses(status: str) -> None:
    """Every status of providers.md §5.5 has its row."""
    [receipt] = await read(MessageSid="SM1", MessageStatus=status)
    assert (receipt.status, receipt.provider_status) == (BY_STATUS[status], status)


@pytest.mark.parametrize("code", sorted({*CODES, *BY_CODE}))
async def test_codes(code: int) -> None:
    """Every code of providers.md §5.4 has its row, and only a route's fault is called one."""
    [receipt] = await read(MessageSid="SM1", MessageStatus="undelivered", ErrorCode=str(code))
    assert (receipt.status, receipt.route_at_fault) == (BY_CODE[code], code in ROUTE | LATE_ROUTE)
    assert receipt.provider_status == f"undelivered {code}"


@pytest.mark.parametrize("status", ["receiving", "received", "of_tomorrow", ""])
async def test_what_is_about_no_message_of_ours(status: str) -> None:
    """Incoming messages and words nobody knows give no receipt."""
    assert await read(MessageSid="SM1", MessageStatus=status) == ()


async def test_what_is_kept() -> None:
    """Ids, ours from the signed query, the recipient and the words."""
    fields = {**TWILIO_FIELDS, "MessageStatus": "failed", "ErrorCode": "30005", "ErrorMessage": "Unknown destination"}
    [receipt] = await read(**fields)
    assert receipt == Receipt(
        status=ReceiptStatus.BOUNCED_HARD,
        provider_message_id="SM00000000000000000000000000000001",
        message_id=OURS,
        event_id="SM00000000000000000000000000000001:failed:30005",
        recipient="+14155550100",
        provider_status="failed 30005",
        detail="Unknown destination",
    )


@pytest.mark.parametrize(
    ("called", "signed", "passes"),
    [
        ("https://h.example/x?a=b", "https://h.example:443/x?a=b", True),
        ("https://h.example:443/x?a=b", "https://h.example/x?a=b", True),
        ("http://h.example/x", "http://h.example:80/x", True),
        ("https://h.example:8443/x", "https://h.example:8443/x", True),
        ("https://[2001:db8::1]/x", "https://[2001:db8::1]:443/x", True),
        ("https://h.example/x#rc=5&rp=all", "https://h.example/x", True),
        ("https://h.example:8443/x", "https://h.example/x", False),
        ("http://h.example/x", "https://h.example/x", False),
        ("https://h.example/x", "https://h.example:80/x", False),
        ("https://h.example/x?a=b", "https://h.example/x", False),
    ],
)
async def test_the_address_with_and_without_port(called: str, signed: str, passes: bool) -> None:
    """Twilio signs the address with the default port or without; any other address is another."""
    request, config = twilio_call({"MessageSid": "SM1", "MessageStatus": "sent"}, url=signed)
    request = replace(request, url=called)
    if passes:
        assert await TwilioReceipts().read(request, config)
        return
    with pytest.raises(ReceiptRefused, match="signature_wrong"):
        await TwilioReceipts().read(request, config)


@pytest.mark.parametrize(
    "settings", ["key=k,algorithm=HMAC_MD5", "key=k", "algorithm=", "garbage", "algorithm=HMAC_SHA1"]
)
async def test_no_other_algorithm(settings: str) -> None:
    """A settings header that names no SHA-256 is refused, and does not fall back to the auth token."""
    request, config = twilio_call({"MessageSid": "SM1", "MessageStatus": "sent"})
    headers = {**request.headers, "x-twilio-webhooks-signature-settings": settings}
    with pytest.raises(ReceiptRefused, match="algorithm_unknown"):
        await TwilioReceipts().read(replace(request, headers=headers), config)


async def test_each_algorithm_has_its_own_key() -> None:
    """SHA-1 needs the auth token, whatever the shared key is."""
    request, _ = twilio_call({"MessageSid": "SM1", "MessageStatus": "sent"})
    with pytest.raises(ReceiptRefused, match="no_key"):
        await TwilioReceipts().read(request, {"webhookSharedKeySecret": "test-auth-token"})


async def test_repeated_fields() -> None:
    """Of a field given several times the values are signed sorted, each once."""
    url = "https://h.example/x"
    signed = f"{url}MessageSidSM1MessageStatussentTagaTagb"
    signature = base64.b64encode(hmac.new(b"test-auth-token", signed.encode(), "sha1").digest()).decode()
    body = b"Tag=b&MessageStatus=sent&Tag=a&Tag=b&MessageSid=SM1"
    request = replace(a_request("twilio", body, {"x-twilio-signature": signature}), url=url)
    assert await TwilioReceipts().read(request, TWILIO_CONFIG)


async def test_a_json_body() -> None:
    """A JSON call signs the address with the body's hash in it, and the hash is compared."""
    body = b'{"MessageSid": "SM1", "MessageStatus": "delivered"}'
    url = f"https://h.example/x?bodySHA256={body_hash(body)}"
    signature = base64.b64encode(hmac.new(b"test-auth-token", url.encode(), "sha1").digest()).decode()
    headers = {"x-twilio-signature": signature, "content-type": "application/json"}
    request = replace(a_request("twilio", body, headers), url=url)
    [receipt] = await TwilioReceipts().read(request, TWILIO_CONFIG)
    assert receipt.status is ReceiptStatus.DELIVERED
    with pytest.raises(ReceiptRefused, match="body_hash_wrong"):
        await TwilioReceipts().read(replace(request, body=body + b" "), TWILIO_CONFIG)


@pytest.mark.parametrize("body", [b"MessageStatus", b"a=b&&c=d", b"\xff=1", b"a=%ff", b"&".join([b"a=b"] * 300)])
async def test_a_malformed_form(body: bytes) -> None:
    """A form that can be read in two ways, or hardly at all, is refused."""
    request, config = twilio_call({"MessageSid": "SM1"})
    with pytest.raises(ReceiptRefused, match="form_malformed"):
        await TwilioReceipts().read(replace(request, body=body), config)
