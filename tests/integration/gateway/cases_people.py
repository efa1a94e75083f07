"""The routes of suppressions and webhooks, one case each. No test."""

from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask
from messagepipe.dispatch.v1 import suppression_service_pb2 as pb
from messagepipe.dispatch.v1 import webhook_service_pb2 as hooks
from messagepipe.type.v1.channel_pb2 import CHANNEL_EMAIL

from tests.integration.gateway.cases import TIME, TIME_JSON, Case

_ENTRY = pb.Suppression(
    id="s-1",
    project_id="demo",
    channel=CHANNEL_EMAIL,
    recipient="ada@example.com",
    reason=pb.Suppression.REASON_COMPLAINT,
    source_message_id="m-1",
    created_at=TIME,
)
_ENTRY_JSON = {
    "id": "s-1",
    "projectId": "demo",
    "channel": "EMAIL",
    "recipient": "ada@example.com",
    "reason": "COMPLAINT",
    "sourceMessageId": "m-1",
    "createdAt": TIME_JSON,
}
_SAID = {"channel": "EMAIL", "recipient": "ada@example.com", "reason": "OPT_OUT"}
_ASKED = pb.Suppression(
    channel=CHANNEL_EMAIL, recipient="ada@example.com", reason=pb.Suppression.REASON_OPT_OUT, project_id="demo"
)
_TOLD = pb.ImportSuppressionsResponse(
    added=1,
    wrong=1,
    results=[
        pb.ImportSuppressionsResponse.Result(line=1, status=pb.ImportSuppressionsResponse.STATUS_ADDED),
        pb.ImportSuppressionsResponse.Result(line=2, status=pb.ImportSuppressionsResponse.STATUS_WRONG, error="no"),
    ],
)
_TOLD_JSON = {
    "added": 1,
    "alreadyThere": 0,
    "wrong": 1,
    "results": [{"line": 1, "status": "ADDED", "error": ""}, {"line": 2, "status": "WRONG", "error": "no"}],
}


def _cases(prefix: str, importing: str) -> dict[str, Case]:
    return {
        f"GET {prefix}": Case(
            url=f"{prefix}?projectId=demo&channel=EMAIL&reason=COMPLAINT&recipient=ada@example.com&pageSize=10",
            rpc="ListSuppressions",
            request=pb.ListSuppressionsRequest(
                project_id="demo",
                channel=CHANNEL_EMAIL,
                reason=pb.Suppression.REASON_COMPLAINT,
                recipient="ada@example.com",
                page_size=10,
            ),
            answer=pb.ListSuppressionsResponse(suppressions=[_ENTRY], next_page_token="next"),
            json={"suppressions": [_ENTRY_JSON], "nextPageToken": "next"},
        ),
        f"POST {prefix}": Case(
            url=prefix,
            body=_SAID | {"projectId": "demo"},
            rpc="CreateSuppression",
            request=pb.CreateSuppressionRequest(suppression=_ASKED),
            answer=_ENTRY,
            json=_ENTRY_JSON,
            status=201,
        ),
        f"DELETE {prefix}/{{id}}": Case(
            url=f"{prefix}/s-1",
            rpc="DeleteSuppression",
            request=pb.DeleteSuppressionRequest(id="s-1"),
            answer=Empty(),
            status=204,
        ),
        f"POST {importing}": Case(
            url=importing,
            body={"projectId": "demo", "channel": "EMAIL", "csv": "ada@example.com\nno\n"},
            rpc="ImportSuppressions",
            request=pb.ImportSuppressionsRequest(project_id="demo", channel=CHANNEL_EMAIL, csv="ada@example.com\nno\n"),
            answer=_TOLD,
            json=_TOLD_JSON,
        ),
    }


_HOOK = hooks.Webhook(
    id="w-1",
    project_id="demo",
    url="https://example.com/hook",
    description="ours",
    types=["message.sent"],
    enabled=True,
    secret="whsec_x",
    created_at=TIME,
)
_HOOK_JSON = {
    "id": "w-1",
    "projectId": "demo",
    "url": "https://example.com/hook",
    "description": "ours",
    "types": ["message.sent"],
    "enabled": True,
    "secret": "whsec_x",
    "createdAt": TIME_JSON,
    "lastError": "",
    "disabledReason": "",
}
_WEBHOOKS: dict[str, Case] = {
    "POST /v1/webhooks": Case(
        url="/v1/webhooks?projectId=demo",
        body={"url": "https://example.com/hook", "types": ["message.sent"]},
        rpc="CreateWebhook",
        request=hooks.CreateWebhookRequest(
            project_id="demo", webhook=hooks.Webhook(url="https://example.com/hook", types=["message.sent"])
        ),
        answer=_HOOK,
        json=_HOOK_JSON,
        status=201,
    ),
    "GET /v1/webhooks": Case(
        url="/v1/webhooks?projectId=demo",
        rpc="ListWebhooks",
        request=hooks.ListWebhooksRequest(project_id="demo"),
        answer=hooks.ListWebhooksResponse(webhooks=[_HOOK]),
        json={"webhooks": [_HOOK_JSON]},
    ),
    "GET /v1/webhooks/{id}": Case(
        url="/v1/webhooks/w-1",
        rpc="GetWebhook",
        request=hooks.GetWebhookRequest(id="w-1"),
        answer=_HOOK,
        json=_HOOK_JSON,
    ),
    **{
        f"{method} /v1/webhooks/{{webhook.id}}": Case(
            url="/v1/webhooks/w-1",
            body={"enabled": False},
            rpc="UpdateWebhook",
            request=hooks.UpdateWebhookRequest(
                webhook=hooks.Webhook(id="w-1", enabled=False), update_mask=FieldMask(paths=["enabled"])
            ),
            answer=_HOOK,
            json=_HOOK_JSON,
        )
        for method in ("PATCH", "PUT")
    },
    "DELETE /v1/webhooks/{id}": Case(
        url="/v1/webhooks/w-1",
        rpc="DeleteWebhook",
        request=hooks.DeleteWebhookRequest(id="w-1"),
        answer=Empty(),
        status=204,
    ),
    "POST /v1/webhooks/{id}:rotateSecret": Case(
        url="/v1/webhooks/w-1:rotateSecret",
        body={},
        rpc="RotateWebhookSecret",
        request=hooks.RotateWebhookSecretRequest(id="w-1"),
        answer=_HOOK,
        json=_HOOK_JSON,
    ),
    "POST /v1/webhooks/{id}:test": Case(
        url="/v1/webhooks/w-1:test",
        body={},
        rpc="TestWebhook",
        request=hooks.TestWebhookRequest(id="w-1"),
        answer=hooks.TestWebhookResponse(status=404, error="HTTP 404"),
        json={"success": False, "status": 404, "error": "HTTP 404"},
    ),
}


PEOPLE: dict[str, Case] = {
    **_cases("/v1/suppressions", "/v1/suppressions:import"),
    **_cases("/suppressions", "/suppressions:import"),
    **_WEBHOOKS,
}
