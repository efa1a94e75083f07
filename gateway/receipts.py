"""What providers call: `POST /receipts/{kind}/{providerConfigId}`, handed on to DispatchService byte for byte.

No token: the provider's signature is the authentication, and DispatchService checks it. So nothing here reads the body,
and a wrong signature, an unknown provider and a wrong kind all answer the same 401.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.api import httpbody_pb2
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb
from starlette.datastructures import Headers

from gateway import errors, headers
from gateway.exchange import BodyBudget, Exchange
from services.chassis.errors import Unavailable
from services.chassis.log import get_logger
from services.chassis.tracing import NO_TRACES, Tracing

PATH = "/receipts/{kind}/{providerConfigId}"
TEMPLATE = "/receipts/{kind}/{id}"
RPC_PATH = "/messagepipe.dispatch.v1.DispatchService/ReceiveReceipt"
MAX_BYTES = 1024 * 1024
SECONDS = 10.0

_log = get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptDoor:
    """The way in for receipts: `token` proves the gateway to DispatchService (None: it has none), `public_url` is what
    providers know it by ("" for the address they called).
    """

    call: Callable[..., Any]
    token: Callable[[], str] | None
    public_url: str = ""
    tracing: Tracing = NO_TRACES

    async def take(self, exchange: Exchange, variables: dict[str, str], request_id: str, budget: BodyBudget) -> None:
        """Returns when the receipts are durable; raises what the caller is told otherwise."""
        if self.token is None:
            _log.error("receipts_need_a_token", set="MESSAGEPIPE_INTERNAL_TOKEN or MESSAGEPIPE_JWT_SECRET")
            raise _not_now()
        async with exchange.body(MAX_BYTES, budget) as body:
            request = pb.ReceiveReceiptRequest(
                kind=variables["kind"],
                provider_id=variables["id"],
                body=httpbody_pb2.HttpBody(content_type=exchange.headers.get("content-type", ""), data=body),
                headers=_joined(exchange.headers),
                url=self._url(exchange),
            )
        told = self.tracing.hand_on(headers.metadata(exchange.headers, headers.bearing(self.token()), request_id))
        try:
            await exchange.or_gone(_ask(self.call, request, told))
        except grpc.aio.AioRpcError as error:
            problem = errors.of_rpc_error(error)
            if problem.status in (401, 403) and problem.reason != "RECEIPT_REFUSED":
                # Our own token, not the provider's signature: a 401 would make the provider give up.
                _log.error("receipts_token_refused", reason=problem.reason)
                raise _not_now() from None
            raise

    def _url(self, exchange: Exchange) -> str:
        base = self.public_url or f"{exchange.scheme}://{exchange.headers.get('host', '')}"
        return base + exchange.target


def _joined(found: Headers) -> dict[str, str]:
    """Every header by its name in lower case; what came several times as one, in order (RFC 9110 §5.3)."""
    joined: dict[str, str] = {}
    for name, value in found.items():
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def _not_now() -> Unavailable:
    return Unavailable("Receipts can not be taken right now; try again.", retry_after=30.0)


async def _ask(call: Callable[..., Any], request: pb.ReceiveReceiptRequest, metadata: Any) -> object:
    return await call(request, timeout=SECONDS, metadata=metadata)
