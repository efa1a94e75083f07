"""One post to one endpoint: signed, sent once, understood. Not when, nor what follows (webhooks.py)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import httpx
from standardwebhooks import Webhook as Signer

from services.adapters.egress import EgressDenied
from services.adapters.http import exchange, prepared
from services.dispatch.webhook import Answer

TIMEOUT = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What is posted where; `secrets` in the clear, the newest first."""

    url: str = field(repr=False)
    id: str
    body: str = field(repr=False)
    secrets: Sequence[str] = field(repr=False)


async def post(transport: httpx.AsyncBaseTransport, letter: Letter, now: datetime) -> Answer:
    """What the receiver answered within 15 s. No redirect is followed, no answer's words are kept: they are the
    receiver's, and anybody's who may see the endpoint's state.
    """
    signatures = [Signer(secret).sign(letter.id, now, letter.body) for secret in letter.secrets]
    headers = {
        "content-type": "application/json",
        "webhook-id": letter.id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
    try:
        request = prepared(httpx.Request("POST", letter.url, headers=headers, content=letter.body.encode()))
        response = await exchange(transport, request, TIMEOUT)
    except EgressDenied:
        return Answer(error="EGRESS_REFUSED")
    except httpx.TimeoutException:
        return Answer(error="TIMEOUT")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
        return Answer(error=type(error).__name__)
    if 200 <= response.status_code < 300:
        return Answer(status=response.status_code)
    return Answer(status=response.status_code, error=f"HTTP {response.status_code}")
