"""The function that docs/providers/sns.md offers for forwarding SNS's delivery records, run as it stands there."""

import asyncio
import base64
import gzip
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.adapters.receipts import ReceiptRequest, ReceiptStatus
from services.adapters.sms.sns_receipts import SnsReceipts
from tests.fakes.vendor import VendorServer

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "providers" / "sns.md"
SECRET = "a made-up secret of ours"


def forwarder() -> Callable[[Any, Any], None]:
    """The page's function."""
    (text,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(text, str(PAGE), "exec"), names)
    handler: Callable[[Any, Any], None] = names["handler"]
    return handler


async def test_what_it_posts_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """CloudWatch's packed records, posted by the page's function, are proved by the secret and read one by one."""
    records = [
        {"notification": {"messageId": "m1"}, "delivery": {"providerResponse": "ok"}, "status": "SUCCESS"},
        {"notification": {"messageId": "m2"}, "delivery": {"providerResponse": "x"}, "status": "FAILURE"},
    ]
    logged = {"logEvents": [{"timestamp": 1_700_000_000_000, "message": json.dumps(record)} for record in records]}
    event = {"awslogs": {"data": base64.b64encode(gzip.compress(json.dumps(logged).encode())).decode()}}

    async with VendorServer() as gateway:
        monkeypatch.setenv("RECEIPT_SECRET", SECRET)
        monkeypatch.setenv("RECEIPTS_URL", f"{gateway.url}/receipts/sns/p1")
        await asyncio.to_thread(forwarder(), event, None)
        (received,) = gateway.received
    request = ReceiptRequest(
        url=f"https://mail.example.com{received.path}",
        headers=received.headers,
        body=received.body,
        received_at=datetime.now(UTC),
    )
    receipts = await SnsReceipts().read(request, {"receiptSecret": SECRET})

    assert [(each.provider_message_id, each.status) for each in receipts] == [
        ("m1", ReceiptStatus.DELIVERED),
        ("m2", ReceiptStatus.FAILED),
    ]
