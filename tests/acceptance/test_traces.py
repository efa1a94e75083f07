"""One trace from a caller's HTTP request through every process to the provider's answer, as a collector gets it.
Nobody's words are in it, and no provider hears of it.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from services.adapters.base import Channel
from tests.acceptance.canaries import MARK, canary, leaks
from tests.acceptance.house import open_house
from tests.fakes.collector import Collector, Noted, running_collector
from tests.fakes.vendor import Reply, VendorServer
from tests.integration.rig import eventually

PROJECT = "shop"
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SPANS = 10  # HTTP, gRPC twice, accepted, gRPC twice for the chain, and two attempts with a call each
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"


def line(collector: Collector, span: Noted | None) -> Iterator[str]:
    """A span and everything that it is a part of, upwards."""
    while span is not None:
        yield f"{span.service.removeprefix('messagepipe-')} {span.side} {span.name}"
        span = collector.parent(span)


async def test_one_trace_leads_from_the_caller_to_the_provider(database_url: str, tmp_path: Path) -> None:
    """HTTP, gRPC, accepted, attempted, called: each span is a part of the one before, in the caller's own trace."""
    async with running_collector() as collector, VendorServer() as vendor:
        vendor.script(Reply(status=503, body=b"no"), Reply(status=202, headers={"x-message-id": "abc"}))
        settings = {"OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}", "LOG_JSON": "true"}
        async with (
            open_house(database_url, tmp_path, readers=None, **settings) as house,
            house.project(PROJECT) as shop,
        ):
            config = {"apiKey": canary(), "baseUrl": vendor.url}
            for name in ("down", "up"):
                await shop.provider(Channel.EMAIL, "sendgrid", config, name=f"{name} {canary()}")
            mail = {"projectId": PROJECT, "to": f"{MARK}@example.com", "from": "shop@example.com"}
            sent = await shop.http.post(
                "/email/send",
                json={**mail, "subject": canary(), "text": canary()},
                headers={"traceparent": TRACEPARENT, "tracestate": "shop=1", "x-request-id": "r-1"},
            )
            assert sent.status_code == 200, sent.text
            # Sent every few seconds by each process for itself.
            await eventually(lambda: len(collector.trace_of(TRACE)) >= SPANS, seconds=30)
    told = [dict(each.headers) for each in vendor.received]
    assert len(told) == 2
    assert not any({"traceparent", "tracestate", "baggage"} & set(each) for each in told)
    assert not leaks(collector.raw)
    assert not re.search(rb"example\.com|Bearer|exception", collector.raw)
    _check_spans(collector)
    lines = [json.loads(each) for each in (tmp_path / "dispatch.log").read_text(encoding="utf-8").splitlines()]
    traced = [each["event"] for each in lines if each.get("trace_id") == TRACE]
    assert {"rpc", "attempt_finished", "dispatch_completed"} <= set(traced)


def _check_spans(collector: Collector) -> None:
    rpc = "messagepipe.dispatch.v1.DispatchService/SendMessage"
    spans = collector.trace_of(TRACE)
    calls = [each for each in spans if each.service == "messagepipe-dispatch" and each.name == "POST"]
    assert [list(line(collector, each)) for each in calls] == [
        [
            "dispatch CLIENT POST",
            "dispatch INTERNAL messagepipe.attempt sendgrid",
            "dispatch INTERNAL messagepipe.accept",
            f"dispatch SERVER {rpc}",
            f"gateway CLIENT {rpc}",
            "gateway SERVER POST /email/send",
        ]
    ] * 2
    assert [(each.attributes["http.response.status_code"], each.failed) for each in calls] == [
        (503, True),
        (202, False),
    ]
    first = next(each for each in spans if each.side == "SERVER" and each.service == "messagepipe-gateway")
    assert first.span.parent_span_id.hex() == CALLER
    assert first.span.trace_state == "shop=1"
    assert first.attributes["http.route"] == "/email/send"
    attempts = [each.attributes for each in spans if each.name.startswith("messagepipe.attempt")]
    assert [each["messagepipe.attempt.number"] for each in attempts] == [1, 2]
    assert [each["messagepipe.attempt.outcome"] for each in attempts] == ["DEFERRED", "ACCEPTED"]
    assert attempts[0]["messagepipe.attempt.reason"] == "UNAVAILABLE"
    resolved = [each for each in spans if each.name.endswith("/ResolveChain")]
    assert {(each.service, each.side) for each in resolved} == {
        ("messagepipe-dispatch", "CLIENT"),
        ("messagepipe-config", "SERVER"),
    }
    assert not any(each.name.startswith("grpc.") or "health" in each.name.lower() for each in collector.spans)
