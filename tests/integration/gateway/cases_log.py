"""The routes of the delivery log, documented and canonical, one case each. No test."""

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from messagepipe.dispatch.v1 import log_service_pb2 as log

from tests.integration.gateway.cases import EVENT, EVENT_JSON, TIME, TIME_JSON, Case

ENTRY: dict[str, Any] = {
    "id": "m-1",
    "message_type": "email",
    "recipient": "user@example.com",
    "status": "delivered",
    "kind": "sendgrid",
    "project_id": "demo",
    "created_at": TIME,
}
# The example of rest-api.md §3.
ENTRY_JSON = {
    "id": "m-1",
    "messageType": "email",
    "recipient": "user@example.com",
    "status": "delivered",
    "provider": "sendgrid",
    "templateId": None,
    "projectId": "demo",
    "createdAt": TIME_JSON,
}
COUNTS = log.AnalyticsCounts(
    sent=3, rescued=1, attempts=4, latency=log.AnalyticsCounts.Latency(p50=80.5, p95=120, p99=200)
)
COUNTS_JSON = {
    "sent": 3,
    "delivered": 0,
    "failed": 0,
    "bounced": 0,
    "failedOver": 0,
    "rescued": 1,
    "attempts": 4,
    "latency": {"p50": 80.5, "p95": 120.0, "p99": 200.0},
}
ANALYTICS = log.Analytics(
    project_id="demo",
    interval="day",
    since=TIME,
    until=TIME,
    counted_at=TIME,
    data=[log.AnalyticsRow(start=TIME, message_type="sms", counts=COUNTS)],
    total=COUNTS,
)
ANALYTICS_JSON = {
    "projectId": "demo",
    "interval": "day",
    "since": TIME_JSON,
    "until": TIME_JSON,
    "countedAt": TIME_JSON,
    "data": [
        {"start": TIME_JSON, "messageType": "sms", "provider": None, "providerId": None, "counts": COUNTS_JSON},
    ],
    "total": COUNTS_JSON,
}
META = log.LogPage(total=100, page=1, limit=50, total_pages=2, has_next_page=True)
META_JSON = {"total": 100, "page": 1, "limit": 50, "totalPages": 2, "hasNextPage": True, "hasPreviousPage": False}


def _routes(prefix: str) -> dict[str, Case]:
    query = (
        "projectId=demo&messageType=email&status=delivered&page=1&limit=50&provider=sendgrid&recipient=user@example.com"
        f"&createdAfter={TIME_JSON}&createdBefore=2024-01-02T10:00:00%2B00:00"
    )
    return {
        f"GET {prefix}/delivery-log": Case(
            url=f"{prefix}/delivery-log?{query}",
            rpc="ListLogEntries",
            request=log.ListLogEntriesRequest(
                project_id="demo",
                message_type="email",
                status="delivered",
                page=1,
                limit=50,
                provider="sendgrid",
                recipient="user@example.com",
                created_after=TIME,
                created_before=Timestamp(seconds=TIME.seconds + 86400),
            ),
            answer=log.ListLogEntriesResponse(data=[log.LogEntry(**ENTRY)], meta=META),
            json={"data": [ENTRY_JSON], "meta": META_JSON},
        ),
        f"GET {prefix}/delivery-log/{{id}}": Case(
            url=f"{prefix}/delivery-log/m-1",
            rpc="GetLogEntry",
            request=log.GetLogEntryRequest(id="m-1"),
            answer=log.LogEntryDetails(**ENTRY, events=[EVENT]),
            json=ENTRY_JSON | {"reason": "", "attempts": [], "events": [EVENT_JSON]},
        ),
        f"GET {prefix}/analytics": Case(
            url=f"{prefix}/analytics?projectId=demo&messageType=sms&provider=sns&interval=day&since={TIME_JSON}&until={TIME_JSON}",
            rpc="GetAnalytics",
            request=log.GetAnalyticsRequest(
                project_id="demo", message_type="sms", provider="sns", interval="day", since=TIME, until=TIME
            ),
            answer=ANALYTICS,
            json=ANALYTICS_JSON,
        ),
    }


LOG: dict[str, Case] = {**_routes(""), **_routes("/v1")}
