"""Twilio's status callbacks: both of their signatures and what they say (providers.md §5.4, §5.5). Not incoming
messages.
"""

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from hmac import new as hmac
from typing import Any
from urllib.parse import parse_qs, parse_qsl

from services.adapters.outcome import Outcome, Reason
from services.adapters.receipt_tools import Meaning, json_value, same, secrets_of, text, words
from services.adapters.receipts import Receipt, ReceiptRefused, ReceiptRequest, ReceiptStatus
from services.adapters.sms import twilio

SIGNATURE = "x-twilio-signature"
SETTINGS = "x-twilio-webhooks-signature-settings"
MAX_FIELDS = 200

# providers.md §5.5. undelivered and failed are read by their ErrorCode; receiving and received are incoming messages.
STATUSES: Mapping[str, Meaning] = {
    "accepted": Meaning(ReceiptStatus.ACCEPTED),
    "scheduled": Meaning(ReceiptStatus.ACCEPTED),
    "queued": Meaning(ReceiptStatus.ACCEPTED),
    "sending": Meaning(ReceiptStatus.ACCEPTED),
    "sent": Meaning(ReceiptStatus.SENT),
    "delivered": Meaning(ReceiptStatus.DELIVERED),
    "undelivered": Meaning(ReceiptStatus.FAILED),
    "failed": Meaning(ReceiptStatus.FAILED),
    "canceled": Meaning(ReceiptStatus.FAILED),
    "read": Meaning(ReceiptStatus.OPENED),
    "partially_delivered": Meaning(ReceiptStatus.SENT),
}
_ROUTE = Meaning(ReceiptStatus.FAILED, route_at_fault=True)
_HARD = Meaning(ReceiptStatus.BOUNCED_HARD)
_WAIT = Meaning(ReceiptStatus.FAILED)

# providers.md §5.4, "After acceptance", one row per code.
CODES: Mapping[int, Meaning] = {
    30001: _ROUTE,
    30002: _ROUTE,
    30003: Meaning(ReceiptStatus.BOUNCED_SOFT),
    30004: Meaning(ReceiptStatus.SUPPRESSED),
    30005: _HARD,
    30006: _HARD,
    30007: Meaning(ReceiptStatus.FAILED),  # filtered as spam: the same text is not to be sent elsewhere by itself
    30008: _ROUTE,
    30017: _ROUTE,
    30022: _ROUTE,
    30023: _ROUTE,
    30024: _ROUTE,
    30032: _ROUTE,
    30033: _ROUTE,
    30034: _ROUTE,
    30035: _ROUTE,
    30036: _ROUTE,
    30046: Meaning(ReceiptStatus.SENT),  # delivery not confirmed: nothing new is known
    30410: _ROUTE,
    30450: _WAIT,  # fraud protection: nothing to route around
    30453: _WAIT,
    30454: _WAIT,
    30500: _ROUTE,
}


class TwilioReceipts:
    """Reads Twilio's status callbacks, signed over the public URL with its query and every field."""

    async def read(self, request: ReceiptRequest, config: Mapping[str, Any]) -> tuple[Receipt, ...]:
        """The one status of the call. Our message id comes from the URL's query, which Twilio signed."""
        fields, signed = _fields(request)
        given, algorithm = request.headers.get(SIGNATURE, ""), _algorithm(request.headers.get(SETTINGS, ""))
        secrets = secrets_of(config, "webhookSharedKeySecret") if algorithm == "sha256" else _auth_token(config)
        proved = [
            same(given, _sign(secret, url + signed, algorithm)) for secret in secrets for url in _addresses(request.url)
        ]
        if not given or not any(proved):
            raise ReceiptRefused("signature_wrong")
        receipt = _receipt(fields, request.url)
        return () if receipt is None else (receipt,)


def _algorithm(settings: str) -> str:
    """The hash named in the settings header; without the header it is SHA-1 with the auth token."""
    if not settings.strip():
        return "sha1"
    pairs = dict(part.strip().partition("=")[::2] for part in settings.split(","))
    if pairs.get("algorithm", "").strip().upper() != "HMAC_SHA256":
        raise ReceiptRefused("algorithm_unknown")
    return "sha256"


def _auth_token(config: Mapping[str, Any]) -> tuple[str]:
    token = str(config.get("authToken") or "")
    if not token:
        raise ReceiptRefused("no_key")
    return (token,)


def _sign(secret: str, signed: str, algorithm: str) -> str:
    return b64encode(hmac(secret.encode(), signed.encode("utf-8", "backslashreplace"), algorithm).digest()).decode()


def _fields(request: ReceiptRequest) -> tuple[dict[str, str], str]:
    """The fields of the call, and what of them is signed after the URL."""
    hashes = parse_qs(_query(request.url)).get("bodySHA256")
    if hashes and "json" in request.headers.get("content-type", ""):
        if not same(hashes[0], hashlib.sha256(request.body).hexdigest()):
            raise ReceiptRefused("body_hash_wrong")
        body = json_value(request.body)
        return ({name: text(value) for name, value in body.items()} if isinstance(body, dict) else {}), ""
    try:
        # Strict: a field without "=" would be signed like one whose name and value are cut elsewhere.
        pairs = parse_qsl(
            request.body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(request.body),
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:
        raise ReceiptRefused("form_malformed") from None
    return dict(pairs), "".join(f"{name}{value}" for name, value in sorted(set(pairs)))


def _addresses(url: str) -> Iterator[str]:
    """The URL as called, without its port and with the default one: Twilio signs any of the three."""
    bare = url.partition("#")[0]
    yield bare
    # by pattern: taken apart and put together again, an odd spelling would become the signed one
    found = re.fullmatch(r"(https?)://([^/?@]+?)(:[0-9]{1,5})?([/?].*)?", bare, re.DOTALL)
    if found is None:
        return
    default = ":443" if found[1] == "https" else ":80"
    if found[3] in (None, default):
        yield f"{found[1]}://{found[2]}{found[4] or ''}"
        yield f"{found[1]}://{found[2]}{default}{found[4] or ''}"


def _query(url: str) -> str:
    return url.partition("#")[0].partition("?")[2]


def _receipt(fields: Mapping[str, str], url: str) -> Receipt | None:
    status = text(fields.get("MessageStatus") or fields.get("SmsStatus")).lower()
    code = text(fields.get("ErrorCode"), 16)
    meaning = _meaning(status, int(code) if code.isascii() and code.isdigit() else 0)
    if meaning is None:
        return None
    sid = text(fields.get("MessageSid") or fields.get("SmsSid"))
    ours = parse_qs(_query(url)).get("messagepipe_id", [""])
    return Receipt(
        status=meaning.status,
        provider_message_id=sid,
        message_id=text(ours[0]),
        # I-Twilio-Idempotency-Token is not signed; a repeat is the same word about the same message
        event_id=":".join(filter(None, (sid, status, code))),
        occurred_at=None,  # RawDlrDoneDate names no time zone
        recipient=text(fields.get("To"), 64),
        route_at_fault=meaning.route_at_fault,
        provider_status=" ".join(filter(None, (status, code))),
        detail=words(fields.get("ErrorMessage")),
    )


def _meaning(status: str, code: int) -> Meaning | None:
    if status not in ("undelivered", "failed") or not code:
        return STATUSES.get(status)
    return CODES.get(code) or _late_refusal(code) or STATUSES[status]


def _late_refusal(code: int) -> Meaning | None:
    """What a code of the API means when it comes only now: with a messaging service Twilio looks later."""
    verdict = twilio.CODES.get(code)
    if verdict is None:
        return None
    if verdict.reason is Reason.RECIPIENT_OPTED_OUT:
        return Meaning(ReceiptStatus.SUPPRESSED)
    if verdict.reason is Reason.RECIPIENT_INVALID:
        return _HARD
    return Meaning(ReceiptStatus.FAILED, verdict.outcome is not Outcome.INVALID)
