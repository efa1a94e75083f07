"""A reader of receipts whose wire is plain JSON: `{"receipts": [{…}]}` with the header `x-signature: good`."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.adapters.receipts import Receipt, ReceiptRefused, ReceiptRequest, ReceiptStatus

GOOD = {"x-signature": "good"}


class ScriptedReader:
    """Proves by the word in a header, which may also be the provider's secret; keeps what it was asked."""

    def __init__(self) -> None:
        self.requests: list[ReceiptRequest] = []
        self.configs: list[Mapping[str, Any]] = []

    async def read(self, request: ReceiptRequest, config: Mapping[str, Any]) -> tuple[Receipt, ...]:
        """The receipts of the body."""
        self.requests.append(request)
        self.configs.append(config)
        if request.headers.get("x-signature") == "later":
            raise ReceiptRefused("certificate", again=True)
        if request.headers.get("x-signature") != config.get("apiKey", "good"):
            raise ReceiptRefused("signature")
        return tuple(_receipt(each) for each in json.loads(request.body)["receipts"])


def wire(*receipts: Mapping[str, Any]) -> bytes:
    """The body that tells these receipts; `status` is a word of ReceiptStatus."""
    return json.dumps({"receipts": list(receipts)}).encode()


def _receipt(fields: Mapping[str, Any]) -> Receipt:
    given: dict[str, Any] = {"provider_message_id": "", "provider_status": fields["status"].lower(), **fields}
    given["status"] = ReceiptStatus(given["status"])
    if "occurred_at" in given:
        given["occurred_at"] = datetime.fromisoformat(given["occurred_at"])
    return Receipt(**given)
