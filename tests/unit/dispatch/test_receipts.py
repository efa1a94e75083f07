"""What the desk refuses before anything is written. What is kept and takes effect: tests/integration."""

from typing import Any

import pytest

from services.adapters.base import Channel
from services.adapters.receipts import ReceiptRequest
from services.dispatch.chain import OpenedProvider
from services.dispatch.config_client import ConfigUnavailable
from services.dispatch.errors import ReceiptNotProved, ServiceUnavailable
from services.dispatch.receipts import ReceiptDesk
from tests.builders import NOON
from tests.fakes.clock import FakeClock
from tests.fakes.receipts import GOOD, ScriptedReader, wire

REQUEST = ReceiptRequest(url="http://x/receipts", headers=GOOD, body=wire(), received_at=NOON)
KNOWN = OpenedProvider(id="p1", channel=Channel.SMS, kind="twilio", config={})


class Providers:
    """One provider, or trouble."""

    def __init__(self, answer: OpenedProvider | Exception | None) -> None:
        self.answer = answer

    async def opened(self, provider_id: str) -> OpenedProvider | None:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Nowhere:
    """A store that nothing may be written to."""

    def transaction(self) -> Any:
        raise AssertionError("nothing was to be written")


def a_desk(answer: OpenedProvider | Exception | None = KNOWN) -> ReceiptDesk:
    """A desk with one reader."""
    store: Any = Nowhere()
    readers = {(Channel.SMS, "twilio"): ScriptedReader()}
    return ReceiptDesk(store, Providers(answer), readers, FakeClock(), lambda *_: None)


async def test_what_holds_no_receipt_is_answered_and_not_kept() -> None:
    """Confirmations and test posts are good and leave nothing behind."""
    await a_desk().receive("twilio", "p1", REQUEST)


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("twilio", None),
        ("termii", KNOWN),
        ("smtp", OpenedProvider(id="p1", channel=Channel.EMAIL, kind="smtp", config={})),
        ("twilio", OpenedProvider(id="p1", channel=Channel.SMS, kind="twilio", config={"apiKey": "other"})),
    ],
)
async def test_every_refusal_is_the_same(kind: str, answer: OpenedProvider | None) -> None:
    """Unknown provider, another kind, a kind without receipts, a wrong signature: one answer that says none of it."""
    with pytest.raises(ReceiptNotProved) as refused:
        await a_desk(answer).receive(kind, "p1", REQUEST)

    assert (refused.value.message, refused.value.metadata) == (ReceiptNotProved().message, {})


async def test_what_can_not_be_checked_now_is_asked_for_again() -> None:
    """ConfigService away, or a certificate that did not load: UNAVAILABLE, so the provider repeats it."""
    later = ReceiptRequest(url="http://x", headers={"x-signature": "later"}, body=b"", received_at=NOON)

    with pytest.raises(ServiceUnavailable):
        await a_desk(ConfigUnavailable()).receive("twilio", "p1", REQUEST)
    with pytest.raises(ServiceUnavailable):
        await a_desk().receive("twilio", "p1", later)
