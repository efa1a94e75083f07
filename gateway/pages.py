"""What is served without a token: /healthz, /readyz, /openapi.json, /docs and the way there. No route of the
contract.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from gateway.codec.well_known import dumps
from gateway.front import JSON, Page
from gateway.openapi.page import CONTENT_SECURITY_POLICY, rendered
from gateway.upstream import Upstream, check_ready
from services.chassis.errors import Unavailable

Answer = tuple[int, Mapping[str, str], bytes]

_HTML = {"content-type": "text/html; charset=utf-8", "content-security-policy": CONTENT_SECURITY_POLICY}


def pages(document: Mapping[str, Any], upstreams: Sequence[Upstream], stopping: asyncio.Event) -> list[Page]:
    """Every page; those that never change are made here, once."""

    async def ready() -> Answer:
        if stopping.is_set():
            raise Unavailable("The gateway is being stopped.", reason="NOT_READY", retry_after=1.0)
        await check_ready(upstreams)
        names = {each.name: "SERVING" for each in upstreams}
        return 200, JSON, dumps({"status": "ready", "services": names})

    return [
        Page(path="/healthz", make=_always(200, JSON, dumps({"status": "alive"}))),
        Page(path="/readyz", make=ready),
        Page(path="/openapi.json", make=_always(200, JSON, dumps(document))),
        Page(path="/docs", make=_always(200, _HTML, rendered(document).encode())),
        Page(path="/", make=_always(307, {"location": "/docs"}, b"")),
    ]


def _always(status: int, headers: Mapping[str, str], body: bytes) -> Callable[[], Awaitable[Answer]]:
    async def make() -> Answer:
        return status, headers, body

    return make
