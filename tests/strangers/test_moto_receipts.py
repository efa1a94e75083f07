"""moto's SNS calling us: an envelope that a stranger signed, through our reader of SES's receipts.

moto signs as AWS does but for the Subject, which it leaves out, and asks for no confirmation (providers.md §9.2).
"""

import asyncio
import json
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx
import pytest

from services.adapters.base import Channel
from services.adapters.email.ses_receipts import SesReceipts
from services.adapters.receipts import ReceiptRefused, ReceiptRequest, ReceiptStatus
from services.adapters.sns_envelope import Fetch, FetchFailed
from services.chassis.clock import SystemClock
from tests.fakes.amazon import sns_certificate
from tests.fakes.vendor import VendorServer
from tests.strangers.conftest import Adapters
from tests.strangers.emails import an_email
from tests.strangers.emulator import Moto
from tests.strangers.maker import ATTEMPT, MESSAGE_ID
from tests.strangers.makers.amazon import KEYS, REGION, client
from tests.unit.adapters.calls import a_call

HOOK = "/receipts/ses/p1"
SIGNED = ("Message", "MessageId", "Timestamp", "TopicArn")


def certificates_of(moto: Moto) -> Fetch:
    """Fetches a certificate where moto serves it: under the path of its address at Amazon."""

    async def fetch(url: str) -> bytes:
        scope = f"AWS4-HMAC-SHA256 Credential=x/20260101/{REGION}/sns/aws4_request, SignedHeaders=host, Signature=x"
        async with httpx.AsyncClient() as wire:
            answer = await wire.get(moto.url + urlsplit(url).path, headers={"authorization": scope})
        if answer.status_code != 200:
            raise FetchFailed(str(answer.status_code))
        return answer.content

    return fetch


@pytest.fixture
async def topic(moto: Moto, vendor: VendorServer) -> str:
    """A topic of moto's that posts to our server."""
    sns = client("sns", moto.url)
    arn: str = sns.create_topic(Name="ses-events")["TopicArn"]
    sns.subscribe(TopicArn=arn, Protocol="http", Endpoint=vendor.url + HOOK)
    return arn


@pytest.fixture
async def notification(topic: str, moto: Moto, vendor: VendorServer, adapters: Adapters) -> ReceiptRequest:
    """What moto posted about a mail that it had taken from our adapter: delivered."""
    client("sesv2", moto.url).create_email_identity(EmailIdentity="example.com")
    sent = await adapters[Channel.EMAIL, "ses"].send(a_call(an_email(), {**KEYS, "endpointUrl": moto.url}))
    tags = {"messagepipe_id": [MESSAGE_ID], "messagepipe_attempt": [ATTEMPT]}
    event = {
        "eventType": "Delivery",
        "mail": {"messageId": sent.provider_message_id, "destination": ["ada@example.net"], "tags": tags},
        "delivery": {"recipients": ["ada@example.net"], "smtpResponse": "250 ök", "timestamp": "2026-01-01T00:00:00Z"},
    }
    publish = client("sns", moto.url).publish
    await asyncio.to_thread(publish, TopicArn=topic, Message=json.dumps(event, ensure_ascii=False))
    (posted,) = vendor.received
    return ReceiptRequest(
        url=f"https://hooks.example.com{posted.path}",
        headers=posted.headers,
        body=posted.body,
        received_at=datetime.now(UTC),
    )


async def test_an_envelope_that_moto_signed(
    notification: ReceiptRequest, topic: str, moto: Moto, adapters: Adapters
) -> None:
    """The signature verifies by the certificate that moto serves, and the receipt names the very mail moto took."""
    reader = SesReceipts(certificates_of(moto), SystemClock())

    (receipt,) = await reader.read(notification, {"snsTopicArns": [topic]})

    (kept,) = moto.recorded("ses", "RawMessage")
    assert (receipt.status, receipt.provider_message_id) == (ReceiptStatus.DELIVERED, kept["id"])
    assert (receipt.message_id, receipt.recipient) == (MESSAGE_ID, "ada@example.net")
    assert "250 ök" in receipt.detail


@pytest.mark.parametrize("field", SIGNED)
async def test_a_change_of_anything_signed(field: str, notification: ReceiptRequest, topic: str, moto: Moto) -> None:
    """One more character in any field under the signature, and the envelope is refused."""
    envelope = json.loads(notification.body)
    changed = {**envelope, field: envelope[field] + "x"}
    request = ReceiptRequest(
        url=notification.url,
        headers=notification.headers,
        body=json.dumps(changed).encode(),
        received_at=notification.received_at,
    )
    reader = SesReceipts(certificates_of(moto), SystemClock())

    with pytest.raises(ReceiptRefused, match="signature_wrong"):
        await reader.read(request, {"snsTopicArns": [topic, topic + "x"]})


async def test_another_certificate(notification: ReceiptRequest, topic: str) -> None:
    """The envelope does not verify by somebody else's certificate."""

    async def fetch(url: str) -> bytes:
        return sns_certificate()

    with pytest.raises(ReceiptRefused, match="signature_wrong"):
        await SesReceipts(fetch, SystemClock()).read(notification, {"snsTopicArns": [topic]})
