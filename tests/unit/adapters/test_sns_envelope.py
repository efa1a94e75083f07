"""The gate that SNS's calls come through."""

from datetime import timedelta

import pytest

from services.adapters.receipts import ReceiptRefused
from services.adapters.sns_envelope import CERTIFICATE_SECONDS, MAX_CERTIFICATES, FetchFailed, Notification, SnsGate
from tests.contract.receipt_vectors import sns_request
from tests.fakes.amazon import CERTIFICATE_URL, NOW, SUBSCRIBE_URL, TOPIC, Amazon, sns_certificate, sns_envelope
from tests.fakes.clock import FakeClock

CONFIRMATION = {"Type": "SubscriptionConfirmation", "Token": "2336412f37fb687f" * 4, "SubscribeURL": SUBSCRIBE_URL}


def a_gate() -> tuple[SnsGate, Amazon, FakeClock]:
    """A gate, the addresses it asks, and its clock."""
    amazon, clock = Amazon(), FakeClock(NOW)
    return SnsGate(amazon.fetch, clock), amazon, clock


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("more", [{}, {"Subject": "Hi"}, {"UnsubscribeURL": "https://sns.eu-west-1.amazonaws.com/?x"}])
async def test_a_notification(version: str, more: dict[str, str]) -> None:
    """Both signature versions pass, with a subject and without, and what is not signed does not matter."""
    gate, _, _ = a_gate()
    opened = await gate.open(sns_request(sns_envelope("text", version=version, more=more)), [TOPIC])
    assert opened == Notification(message_id="165545c9-2a5c-472c-8df2-7ff2be2b3b1b", message="text")


async def test_a_subscription_is_confirmed() -> None:
    """A confirmation of an allowed topic is answered by asking its own address, once, and carries nothing."""
    gate, amazon, _ = a_gate()
    assert await gate.open(sns_request(sns_envelope("You have chosen…", more=CONFIRMATION)), [TOPIC]) is None
    assert amazon.asked == [CERTIFICATE_URL, SUBSCRIBE_URL]


async def test_the_end_of_a_subscription() -> None:
    """That somebody unsubscribed is taken note of; it is not subscribed again."""
    gate, amazon, _ = a_gate()
    ended = sns_envelope("bye", more={**CONFIRMATION, "Type": "UnsubscribeConfirmation"})
    assert await gate.open(sns_request(ended), [TOPIC]) is None
    assert amazon.asked == [CERTIFICATE_URL]


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123.pem",
        "https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-0123.pem",
        "https://evil.example/SimpleNotificationService-0123.pem",
        "https://sns.eu-west-1.amazonaws.com@evil.example/SimpleNotificationService-0123.pem",
        "https://evil.example@sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123.pem",
        "https://notsns.eu-west-1.amazonaws.com/SimpleNotificationService-0123.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/SimpleNotificationService-0123.pem",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123.pem",
        "https://s3.eu-west-1.amazonaws.com/SimpleNotificationService-0123.pem",
        "https://sns.eu-west-1.amazonaws.com/evil/SimpleNotificationService-0123.pem",
        "https://sns.eu-west-1.amazonaws.com/../SimpleNotificationService-0123.pem",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123.pem\n",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123.pem#x",
        "https://sns.eu-west-1.amazonaws.com\\@evil.example/SimpleNotificationService-0123.pem",
        "https://[/SimpleNotificationService-0123.pem",
        "file:///etc/passwd",
        "",
    ],
)
async def test_a_certificate_from_elsewhere(url: str) -> None:
    """No certificate is fetched but from SNS itself, in the topic's own region."""
    gate, amazon, _ = a_gate()
    with pytest.raises(ReceiptRefused, match="url_not_allowed"):
        await gate.open(sns_request(sns_envelope("text", more={"SigningCertURL": url})), [TOPIC])
    assert amazon.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/?Action=ConfirmSubscription",
        SUBSCRIBE_URL.replace("https", "http"),
        SUBSCRIBE_URL.replace("eu-west-1.amazonaws", "us-east-1.amazonaws"),
        SUBSCRIBE_URL.replace("ConfirmSubscription", "DeleteTopic"),
        SUBSCRIBE_URL.replace(TOPIC, TOPIC + "2"),
        SUBSCRIBE_URL.replace("/?", "/evil?"),
    ],
)
async def test_a_subscription_elsewhere(url: str) -> None:
    """Even a signed confirmation makes us ask nobody but SNS, for nothing but this."""
    gate, amazon, _ = a_gate()
    with pytest.raises(ReceiptRefused, match="url_not_allowed"):
        await gate.open(sns_request(sns_envelope("x", more={**CONFIRMATION, "SubscribeURL": url})), [TOPIC])
    assert amazon.asked == [CERTIFICATE_URL]


async def test_a_strangers_topic() -> None:
    """Another account's topic is signed by Amazon too: it is refused before anything is fetched."""
    gate, amazon, _ = a_gate()
    other = TOPIC.replace("123456789012", "999999999999")
    with pytest.raises(ReceiptRefused, match="topic_not_allowed"):
        await gate.open(sns_request(sns_envelope("text", more={"TopicArn": other})), [TOPIC])
    assert amazon.asked == []


async def test_the_certificate_is_kept_for_a_day() -> None:
    """One fetch serves a day of calls."""
    gate, amazon, clock = a_gate()
    for _ in range(3):
        await gate.open(sns_request(sns_envelope("text")), [TOPIC])
    assert amazon.asked == [CERTIFICATE_URL]
    clock.advance(CERTIFICATE_SECONDS + 1)
    await gate.open(sns_request(sns_envelope("text")), [TOPIC])
    assert amazon.asked == [CERTIFICATE_URL] * 2


async def test_certificates_are_bounded() -> None:
    """However many certificate names come along, only the newest are kept."""
    asked: list[str] = []

    async def fetch(url: str) -> bytes:
        asked.append(url)
        return sns_certificate()

    gate = SnsGate(fetch, FakeClock(NOW))
    urls = [CERTIFICATE_URL.replace("0123", f"{number:04}") for number in range(MAX_CERTIFICATES + 1)]
    for url in (*urls, urls[-1], urls[0]):
        await gate.open(sns_request(sns_envelope("text", more={"SigningCertURL": url})), [TOPIC])
    assert asked == [*urls, urls[0]]


async def test_amazon_is_down() -> None:
    """What could not be checked now is refused in a way that asks for it again."""
    gate, amazon, _ = a_gate()
    amazon.down = True
    with pytest.raises(ReceiptRefused, match="certificate_unavailable") as refused:
        await gate.open(sns_request(sns_envelope("text")), [TOPIC])
    assert refused.value.again
    amazon.down = False
    await gate.open(sns_request(sns_envelope("text")), [TOPIC])
    amazon.down = True
    with pytest.raises(ReceiptRefused, match="subscription_not_confirmed") as refused:
        await gate.open(sns_request(sns_envelope("x", more=CONFIRMATION)), [TOPIC])
    assert refused.value.again


async def test_a_certificate_that_is_none() -> None:
    """A page in place of the certificate refuses the call."""

    async def fetch(url: str) -> bytes:
        return b"<html>"

    with pytest.raises(ReceiptRefused, match="certificate_unreadable"):
        await SnsGate(fetch, FakeClock(NOW)).open(sns_request(sns_envelope("text")), [TOPIC])


@pytest.mark.parametrize(("seconds", "reason"), [(3901, "stale"), (-301, "from_the_future")])
async def test_old_news(seconds: int, reason: str) -> None:
    """Older than SNS ever repeats it, or from the future: refused; an hour old is not (providers.md §3.5)."""
    gate, _, _ = a_gate()
    assert await gate.open(sns_request(sns_envelope("text", at=NOW - timedelta(seconds=3600))), [TOPIC])
    with pytest.raises(ReceiptRefused, match=reason):
        await gate.open(sns_request(sns_envelope("text", at=NOW - timedelta(seconds=seconds))), [TOPIC])


async def test_an_unknown_version() -> None:
    """A signature version that is not known is refused, not guessed."""
    gate, _, _ = a_gate()
    envelope = {**sns_envelope("text"), "SignatureVersion": "3"}
    with pytest.raises(ReceiptRefused, match="signature_version_unknown"):
        await gate.open(sns_request(envelope), [TOPIC])


@pytest.mark.parametrize("missing", ["Message", "MessageId", "Timestamp", "TopicArn", "Type", "Signature"])
async def test_a_part_is_missing(missing: str) -> None:
    """An envelope without one of its signed parts is none."""
    gate, _, _ = a_gate()
    envelope = {name: value for name, value in sns_envelope("text").items() if name != missing}
    with pytest.raises(ReceiptRefused, match="not_an_sns_envelope"):
        await gate.open(sns_request(envelope), [TOPIC])


def test_fetch_failed_is_no_refusal() -> None:
    """What a fetcher raises is its own error, which the gate words."""
    assert not issubclass(FetchFailed, ReceiptRefused)
