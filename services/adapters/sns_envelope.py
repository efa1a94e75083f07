"""Amazon SNS calling us over HTTPS: proves an envelope, confirms a subscription. Not what the notification inside it
says, and not the sending of SMS.

AWS, "Verifying the signatures of Amazon SNS messages"; providers.md §3.5.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.x509 import load_pem_x509_certificate

from services.adapters.aws import dns_suffix
from services.adapters.egress import Egress
from services.adapters.receipt_tools import check_fresh, from_iso, json_value, member, same, strict_base64
from services.adapters.receipts import ReceiptRefused, ReceiptRequest
from services.chassis.clock import Clock
from services.chassis.log import get_logger

Fetch = Callable[[str], Awaitable[bytes]]
"""GETs one https address and gives the body of a 200; raises FetchFailed for everything else."""

MAX_AGE_SECONDS = 3900.0  # SNS repeats a notification for 3600 s at most, always with its first Timestamp
FETCH_SECONDS = 4.0  # a certificate and a confirmation fit into the ten seconds that the gateway waits
MAX_FETCHED_BYTES = 64 * 1024
CERTIFICATE_SECONDS = 24 * 3600.0
MAX_CERTIFICATES = 32

NOTIFICATION = "Notification"
CONFIRMATION = "SubscriptionConfirmation"
# What is signed, in this order; Subject only when there is one.
SIGNED: Mapping[str, tuple[str, ...]] = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    CONFIRMATION: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
HASHES: Mapping[str, HashAlgorithm] = {"1": SHA1(), "2": SHA256()}  # noqa: S303 - what AWS signs with by default
_CERTIFICATE_PATH = re.compile(r"/SimpleNotificationService-[A-Za-z0-9]{1,64}\.pem\Z")


class FetchFailed(Exception):
    """The address did not answer 200 with a small body in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One proved notification of an allowed topic: its id, the same in every repeat, and the text it carries."""

    message_id: str
    message: str


class SnsGate:
    """Lets through what Amazon signed for a topic of ours; keeps the certificates for a day.

    Everything a stranger could choose is pinned before anything is fetched: the topic must be in the list, and the
    certificate come from SNS in that topic's own region.
    """

    def __init__(self, fetch: Fetch, clock: Clock) -> None:
        self._fetch, self._clock = fetch, clock
        self._keys: OrderedDict[str, tuple[RSAPublicKey, float]] = OrderedDict()
        self._log = get_logger()

    async def open(self, request: ReceiptRequest, topics: Iterable[str]) -> Notification | None:
        """The notification, or None when the envelope was a confirmation, which is answered here.

        Raises ReceiptRefused; with `again` when the certificate or the confirmation could not be fetched now.
        """
        envelope = _envelope(json_value(request.body))
        if not any([same(envelope["TopicArn"], topic) for topic in topics]):  # noqa: C419 - all are compared
            raise ReceiptRefused("topic_not_allowed")
        signature, algorithm = strict_base64(envelope["Signature"]), HASHES.get(envelope["SignatureVersion"])
        if algorithm is None:
            raise ReceiptRefused("signature_version_unknown")
        key = await self._key(_pinned(envelope["SigningCertURL"], envelope["TopicArn"], _CERTIFICATE_PATH))
        try:
            key.verify(signature, signed_text(envelope), PKCS1v15(), algorithm)
        except InvalidSignature:
            raise ReceiptRefused("signature_wrong") from None
        check_fresh(from_iso(envelope["Timestamp"]), request, MAX_AGE_SECONDS)
        if envelope["Type"] == NOTIFICATION:
            return Notification(message_id=envelope["MessageId"], message=envelope["Message"])
        if envelope["Type"] == CONFIRMATION:
            await self._confirm(envelope)
        else:
            self._log.warning("sns_subscription_ended")  # no receipts from this topic any more
        return None

    async def _confirm(self, envelope: Mapping[str, str]) -> None:
        url = _pinned(envelope["SubscribeURL"], envelope["TopicArn"], re.compile(r"/?\Z"))
        asked = parse_qs(urlsplit(url).query)
        if asked.get("Action") != ["ConfirmSubscription"] or asked.get("TopicArn") != [envelope["TopicArn"]]:
            raise ReceiptRefused("subscribe_url_not_allowed")
        try:
            await self._fetch(url)
        except FetchFailed:
            raise ReceiptRefused("subscription_not_confirmed", again=True) from None
        self._log.info("sns_subscription_confirmed")

    async def _key(self, url: str) -> RSAPublicKey:
        kept = self._keys.get(url)
        if kept is not None and kept[1] > self._clock.boottime():
            return kept[0]
        try:
            key = _public_key(await self._fetch(url))
        except FetchFailed:
            raise ReceiptRefused("certificate_unavailable", again=True) from None
        self._keys[url] = (key, self._clock.boottime() + CERTIFICATE_SECONDS)
        self._keys.move_to_end(url)
        while len(self._keys) > MAX_CERTIFICATES:
            self._keys.popitem(last=False)
        return key


def _envelope(body: Any) -> dict[str, str]:
    """The envelope's texts by name; raises ReceiptRefused unless every signed one is there."""
    kind = member(body, "Type")
    names = SIGNED.get(kind) if isinstance(kind, str) else None
    if names is None:
        raise ReceiptRefused("not_an_sns_envelope")
    wanted = (*names, "Signature", "SignatureVersion", "SigningCertURL")
    envelope = {name: body[name] for name in wanted if isinstance(body.get(name), str)}
    if set(wanted) - set(envelope) - {"Subject"} or not isinstance(body.get("Subject"), str | None):
        raise ReceiptRefused("not_an_sns_envelope")
    return envelope


def signed_text(envelope: Mapping[str, str]) -> bytes:
    """The bytes that Amazon signs: each name and value of this type of envelope on lines of their own."""
    names = [name for name in SIGNED[envelope["Type"]] if name in envelope]
    return "".join(f"{name}\n{envelope[name]}\n" for name in names).encode("utf-8", "backslashreplace")


def _pinned(url: str, topic: str, path: re.Pattern[str]) -> str:
    """The same address if it is SNS itself, over https, in the topic's own region; raises ReceiptRefused if not."""
    region = topic.split(":")[3]
    host = f"sns.{region}.{dns_suffix(region)}"
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ReceiptRefused("url_not_allowed") from None
    plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
    # netloc as a whole: neither user nor port
    if not (plain and parts.scheme == "https" and parts.netloc == host and path.match(parts.path)) or parts.fragment:
        raise ReceiptRefused("url_not_allowed")
    return url


def _public_key(pem: bytes) -> RSAPublicKey:
    try:
        key = load_pem_x509_certificate(pem).public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise ReceiptRefused("certificate_unreadable", again=True) from None
    if not isinstance(key, RSAPublicKey) or key.key_size < 2048:
        raise ReceiptRefused("certificate_unreadable")
    return key


def guarded_fetch(egress: Egress) -> Fetch:
    """GETs over the transport that checks every address at connect time; follows no redirect."""

    async def fetch(url: str) -> bytes:
        from services.adapters.http_transport import build_transport  # loads aiohttp: only who fetches needs it

        transport = build_transport(egress)
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                return await _body(transport, url)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:  # TimeoutError and EgressDenied are OSErrors
            raise FetchFailed(type(error).__name__) from error
        finally:
            await transport.aclose()

    return fetch


async def _body(transport: httpx.AsyncBaseTransport, url: str) -> bytes:
    limits = {"connect": FETCH_SECONDS, "read": FETCH_SECONDS, "total": FETCH_SECONDS}
    request = httpx.Request("GET", url, headers={"accept-encoding": "identity"}, extensions={"timeout": limits})
    response = await transport.handle_async_request(request)
    body = bytearray()
    try:
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > MAX_FETCHED_BYTES:
                raise FetchFailed("too large")
    finally:
        await response.aclose()
    if response.status_code != 200:
        raise FetchFailed(str(response.status_code))
    return bytes(body)
