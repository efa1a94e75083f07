"""Every HTTP route of the contract: what a REST client sends, the RPC it becomes, the answer, the JSON that comes
back.
"""

from dataclasses import dataclass, field
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message as Proto
from messagepipe.config.v1 import config_service_pb2 as config
from messagepipe.config.v1 import provider_pb2, provider_schema_pb2
from messagepipe.dispatch.v1 import delivery_event_pb2, message_pb2
from messagepipe.dispatch.v1 import dispatch_service_pb2 as dispatch
from messagepipe.type.v1.channel_pb2 import CHANNEL_EMAIL, CHANNEL_SMS, Channel

from gateway.app import CONFIG, codecs
from tests.integration.gateway.conftest import House

TIME = {"seconds": 1704103200}
TIME_JSON = "2024-01-01T10:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One route: the URL and body sent, the request that must arrive, the answer given, the JSON that must come
    back.
    """

    url: str
    rpc: str
    request: Proto
    answer: Any
    json: Any = None
    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def _provider(channel: "Channel.ValueType" = CHANNEL_EMAIL) -> provider_pb2.Provider:
    made = provider_pb2.Provider(
        id="p-1", project_id="demo", channel=channel, kind="sendgrid", name="Primary", version=1, created_at=TIME
    )
    made.enabled, made.priority = False, 0
    made.config.update({"port": 587})
    return made


def _provider_json(channel: str = "EMAIL") -> dict[str, Any]:
    return {
        "id": "p-1",
        "projectId": "demo",
        "channel": channel,
        "provider": "sendgrid",
        "name": "Primary",
        "enabled": False,
        "priority": 0,
        "config": {"port": 587},
        "version": "1",
        "createdAt": TIME_JSON,
    }


SENDER = provider_pb2.ChannelConfig(
    project_id="demo", channel=CHANNEL_EMAIL, enabled=True, sender_email="noreply@yourcompany.com", created_at=TIME
)
SENDER_JSON = {
    "projectId": "demo",
    "channel": "EMAIL",
    "enabled": True,
    "senderEmail": "noreply@yourcompany.com",
    "senderName": "",
    "senderId": "",
    "createdAt": TIME_JSON,
}
SCHEMA = provider_schema_pb2.ProviderSchema(kind="ses", channel=CHANNEL_EMAIL, title="Amazon SES")
SCHEMA_JSON = {
    "provider": "ses",
    "channel": "EMAIL",
    "title": "Amazon SES",
    "description": "",
    "documentationUrl": "",
}
MESSAGE = message_pb2.Message(id="m-1", project_id="demo", state=message_pb2.Message.STATE_QUEUED, created_at=TIME)
MESSAGE_JSON = {
    "id": "m-1",
    "projectId": "demo",
    "channel": "UNSPECIFIED",
    "recipient": "",
    "state": "QUEUED",
    "reason": "",
    "provider": "",
    "providerId": "",
    "possibleDuplicate": False,
    "attempts": [],
    "tags": [],
    "metadata": {},
    "createdAt": TIME_JSON,
    "chainVersion": "0",
}
CONTENT = {"to": "ada@example.com", "subject": "Hi", "text": "It works.", "projectId": "demo"}


def _spec(channel: "Channel.ValueType", **members: Any) -> message_pb2.MessageSpec:
    said: dict[str, Any] = {"to": "ada@example.com", "subject": "Hi", "text": "It works.", "project_id": "demo"}
    return message_pb2.MessageSpec(channel=channel, **(said | members))


EVENT = delivery_event_pb2.DeliveryEvent(
    message_id="m-1", sequence=1, time=TIME, queued=delivery_event_pb2.DeliveryEvent.Queued(deadline=TIME)
)
EVENT_JSON = {"messageId": "m-1", "sequence": "1", "time": TIME_JSON, "queued": {"deadline": TIME_JSON}}
AS_JSON = {"accept": "application/json"}


def _configuration(channel: "Channel.ValueType", word: str) -> dict[str, Case]:
    """The documented routes of one channel's configuration (rest-api §1)."""
    base = f"/{word}-config"
    body = {"provider": "sendgrid", "name": "Primary", "enabled": True, "priority": 1, "config": {"apiKey": "k"}}
    made = provider_pb2.Provider(kind="sendgrid", name="Primary", enabled=True, priority=1, channel=channel)
    made.config.update({"apiKey": "k"})
    changed = provider_pb2.Provider(id="p-1", channel=channel)
    changed.enabled, changed.priority = False, 0
    change = {"update_mask": {"paths": ["enabled", "priority"]}}
    sender = {"senderEmail": "noreply@yourcompany.com", "senderName": "Your Company Name", "enabled": True}
    said = provider_pb2.ChannelConfig(
        channel=channel, sender_email="noreply@yourcompany.com", sender_name="Your Company Name", enabled=True
    )
    mask = {"paths": ["sender_email", "sender_name", "enabled"]}
    verdict = config.TestProviderResponse(verdict=config.TestProviderResponse.VERDICT_GOOD, message="ok")
    answer, answer_json = _provider(channel), _provider_json(word.upper())
    return {
        f"GET {base}/provider-schemas": Case(
            url=f"{base}/provider-schemas",
            rpc="ListProviderSchemas",
            request=config.ListProviderSchemasRequest(channel=channel),
            answer=config.ListProviderSchemasResponse(schemas=[SCHEMA]),
            json=[SCHEMA_JSON],
        ),
        f"GET {base}/provider-schemas/{{kind}}": Case(
            url=f"{base}/provider-schemas/ses",
            rpc="GetProviderSchema",
            request=config.GetProviderSchemaRequest(kind="ses", channel=channel),
            answer=SCHEMA,
            json=SCHEMA_JSON,
        ),
        f"GET {base}/providers": Case(
            url=f"{base}/providers?projectId=demo",
            rpc="ListProviders",
            request=config.ListProvidersRequest(project_id="demo", channel=channel),
            answer=config.ListProvidersResponse(providers=[answer]),
            json=[answer_json],
        ),
        f"POST {base}/providers": Case(
            url=f"{base}/providers?projectId=demo",
            body=body,
            rpc="CreateProvider",
            request=config.CreateProviderRequest(project_id="demo", provider=made),
            answer=answer,
            json=answer_json,
            status=201,
        ),
        f"GET {base}/providers/{{id}}": Case(
            url=f"{base}/providers/p-1",
            rpc="GetProvider",
            request=config.GetProviderRequest(id="p-1", channel=channel),
            answer=answer,
            json=answer_json,
        ),
        f"PUT {base}/providers/{{provider.id}}": Case(
            url=f"{base}/providers/p-1",
            body={"enabled": False, "priority": 0},
            rpc="UpdateProvider",
            request=config.UpdateProviderRequest(provider=changed, **change),
            answer=answer,
            json=answer_json,
        ),
        f"DELETE {base}/providers/{{id}}": Case(
            url=f"{base}/providers/p-1",
            rpc="DeleteProvider",
            request=config.DeleteProviderRequest(id="p-1", channel=channel),
            answer=Empty(),
            status=204,
        ),
        f"POST {base}/providers/{{id}}/test": Case(
            url=f"{base}/providers/p-1/test",
            rpc="TestProvider",
            request=config.TestProviderRequest(id="p-1", channel=channel),
            answer=verdict,
            json={"verdict": "GOOD", "message": "ok"},
        ),
        f"GET {base}": Case(
            url=f"{base}?projectId=demo",
            rpc="GetChannelConfig",
            request=config.GetChannelConfigRequest(project_id="demo", channel=channel),
            answer=SENDER,
            json=SENDER_JSON,
        ),
        f"POST {base}": Case(
            url=f"{base}?projectId=demo",
            body=sender,
            rpc="CreateChannelConfig",
            request=config.CreateChannelConfigRequest(project_id="demo", channel_config=said),
            answer=SENDER,
            json=SENDER_JSON,
            status=201,
        ),
        f"PUT {base}": Case(
            url=f"{base}?projectId=demo",
            body=sender,
            rpc="UpdateChannelConfig",
            request=config.UpdateChannelConfigRequest(project_id="demo", channel_config=said, update_mask=mask),
            answer=SENDER,
            json=SENDER_JSON,
        ),
    }


def _sending(channel: "Channel.ValueType", word: str, name: str) -> dict[str, Case]:
    """The documented routes of sending (rest-api §2)."""
    sent = dispatch.SendMessageResponse(
        message=f"{name} sent successfully", message_id="m-1", state=message_pb2.Message.STATE_SENT, kind="ses"
    )
    result = dispatch.SendBulkMessagesResponse.Result(
        recipient="a@example.com",
        success=True,
        message_id="m-1",
        kind="ses",
        delivery_log_id="m-1",
        state=message_pb2.Message.STATE_SENT,
    )
    bulk = dispatch.SendBulkMessagesResponse(
        message=f"Bulk {word} processed: 1 sent, 0 failed", success=True, results=[result]
    )
    bulk_body = {key: value for key, value in CONTENT.items() if key != "to"} | {"recipients": ["a@example.com"]}
    return {
        f"POST /{word}/send": Case(
            url=f"/{word}/send",
            body=CONTENT | {"preferredProvider": "ses", "from": "me@example.com"},
            rpc="SendMessage",
            request=dispatch.SendMessageRequest(
                message=_spec(channel, preferred_provider="ses", sender="me@example.com")
            ),
            answer=sent,
            json={
                "message": f"{name} sent successfully",
                "messageId": "m-1",
                "state": "SENT",
                "provider": "ses",
                "providerId": "",
                "possibleDuplicate": False,
                "attempts": [],
            },
        ),
        f"POST /{word}/send-bulk": Case(
            url=f"/{word}/send-bulk",
            body=bulk_body,
            rpc="SendBulkMessages",
            request=dispatch.SendBulkMessagesRequest(message=_spec(channel, to=""), recipients=["a@example.com"]),
            answer=bulk,
            json={
                "message": f"Bulk {word} processed: 1 sent, 0 failed",
                "success": True,
                "results": [
                    {
                        "recipient": "a@example.com",
                        "success": True,
                        "messageId": "m-1",
                        "provider": "ses",
                        "deliveryLogId": "m-1",
                        "error": "",
                        "state": "SENT",
                    }
                ],
            },
        ),
    }


_CANONICAL_CONFIG: dict[str, Case] = {
    "GET /v1/provider-schemas": Case(
        url="/v1/provider-schemas?channel=SMS",
        rpc="ListProviderSchemas",
        request=config.ListProviderSchemasRequest(channel=CHANNEL_SMS),
        answer=config.ListProviderSchemasResponse(schemas=[SCHEMA]),
        json={"schemas": [SCHEMA_JSON]},
    ),
    "GET /v1/provider-schemas/{kind}": Case(
        url="/v1/provider-schemas/sandbox?channel=CHANNEL_SMS",
        rpc="GetProviderSchema",
        request=config.GetProviderSchemaRequest(kind="sandbox", channel=CHANNEL_SMS),
        answer=SCHEMA,
        json=SCHEMA_JSON,
    ),
    "POST /v1/providers": Case(
        url="/v1/providers",
        body={"projectId": "demo", "channel": "EMAIL", "provider": "ses", "name": "B"},
        rpc="CreateProvider",
        request=config.CreateProviderRequest(
            provider=provider_pb2.Provider(project_id="demo", channel=CHANNEL_EMAIL, kind="ses", name="B")
        ),
        answer=_provider(),
        json=_provider_json(),
        status=201,
    ),
    "GET /v1/providers/{id}": Case(
        url="/v1/providers/p-1",
        rpc="GetProvider",
        request=config.GetProviderRequest(id="p-1"),
        answer=_provider(),
        json=_provider_json(),
    ),
    "GET /v1/providers": Case(
        url="/v1/providers?projectId=demo&pageSize=2&page_token=t",
        rpc="ListProviders",
        request=config.ListProvidersRequest(project_id="demo", page_size=2, page_token="t"),
        answer=config.ListProvidersResponse(providers=[_provider()], next_page_token="n"),
        json={"providers": [_provider_json()], "nextPageToken": "n"},
    ),
    "PATCH /v1/providers/{provider.id}": Case(
        url="/v1/providers/p-1",
        body={"name": "B"},
        rpc="UpdateProvider",
        request=config.UpdateProviderRequest(
            provider=provider_pb2.Provider(id="p-1", name="B"), update_mask={"paths": ["name"]}
        ),
        answer=_provider(),
        json=_provider_json(),
    ),
    "PUT /v1/providers/{provider.id}": Case(
        url="/v1/providers/p-1?updateMask=name,enabled",
        body={"name": "B"},
        rpc="UpdateProvider",
        request=config.UpdateProviderRequest(
            provider=provider_pb2.Provider(id="p-1", name="B"), update_mask={"paths": ["name", "enabled"]}
        ),
        answer=_provider(),
        json=_provider_json(),
    ),
    "DELETE /v1/providers/{id}": Case(
        url="/v1/providers/p-1",
        rpc="DeleteProvider",
        request=config.DeleteProviderRequest(id="p-1"),
        answer=Empty(),
        status=204,
    ),
    "POST /v1/providers:reorder": Case(
        url="/v1/providers:reorder",
        body={"projectId": "demo", "channel": "EMAIL", "providerIds": ["b", "a"]},
        rpc="ReorderProviders",
        request=config.ReorderProvidersRequest(project_id="demo", channel=CHANNEL_EMAIL, provider_ids=["b", "a"]),
        answer=config.ReorderProvidersResponse(providers=[_provider()]),
        json={"providers": [_provider_json()]},
    ),
    "POST /v1/providers/{id}:test": Case(
        url="/v1/providers/p-1:test",
        body={},
        rpc="TestProvider",
        request=config.TestProviderRequest(id="p-1"),
        answer=config.TestProviderResponse(message="no"),
        json={"verdict": "UNSPECIFIED", "message": "no"},
    ),
    "GET /v1/channel-configs/{channel}": Case(
        url="/v1/channel-configs/EMAIL?projectId=demo",
        rpc="GetChannelConfig",
        request=config.GetChannelConfigRequest(project_id="demo", channel=CHANNEL_EMAIL),
        answer=SENDER,
        json=SENDER_JSON,
    ),
    "POST /v1/channel-configs": Case(
        url="/v1/channel-configs",
        body={"projectId": "demo", "channel": "SMS", "senderId": "Acme"},
        rpc="CreateChannelConfig",
        request=config.CreateChannelConfigRequest(
            channel_config=provider_pb2.ChannelConfig(project_id="demo", channel=CHANNEL_SMS, sender_id="Acme")
        ),
        answer=SENDER,
        json=SENDER_JSON,
        status=201,
    ),
    "PATCH /v1/channel-configs/{channel_config.channel}": Case(
        url="/v1/channel-configs/SMS?projectId=demo",
        body={"senderId": "Acme"},
        rpc="UpdateChannelConfig",
        request=config.UpdateChannelConfigRequest(
            project_id="demo",
            channel_config=provider_pb2.ChannelConfig(channel=CHANNEL_SMS, sender_id="Acme"),
            update_mask={"paths": ["sender_id"]},
        ),
        answer=SENDER,
        json=SENDER_JSON,
    ),
}

_CANONICAL_DISPATCH: dict[str, Case] = {
    "POST /v1/messages": Case(
        url="/v1/messages",
        body=CONTENT | {"channel": "EMAIL", "ttl": "90s", "attachments": [{"filename": "a.txt", "content": "aGk="}]},
        rpc="CreateMessage",
        request=dispatch.CreateMessageRequest(
            message=_spec(CHANNEL_EMAIL, ttl={"seconds": 90}, attachments=[{"filename": "a.txt", "content": b"hi"}])
        ),
        answer=MESSAGE,
        json=MESSAGE_JSON,
        status=202,
    ),
    "POST /v1/messages:batch": Case(
        url="/v1/messages:batch",
        body={"messages": [CONTENT | {"channel": "EMAIL"}]},
        rpc="BatchCreateMessages",
        request=dispatch.BatchCreateMessagesRequest(messages=[_spec(CHANNEL_EMAIL)]),
        answer=dispatch.BatchCreateMessagesResponse(results=[{"message_id": "m-1"}], accepted=1),
        json={"results": [{"messageId": "m-1"}], "accepted": 1, "refused": 0},
    ),
    "POST /v1/messages:dispatch": Case(
        url="/v1/messages:dispatch",
        body=CONTENT | {"channel": "EMAIL"},
        headers=AS_JSON,
        rpc="DispatchMessage",
        request=dispatch.DispatchMessageRequest(message=_spec(CHANNEL_EMAIL)),
        answer=[EVENT],
        json={"events": [EVENT_JSON], "lastEventId": "1"},
    ),
    "POST /v1/messages:send": Case(
        url="/v1/messages:send",
        body=CONTENT | {"channel": "EMAIL"},
        rpc="SendMessage",
        request=dispatch.SendMessageRequest(message=_spec(CHANNEL_EMAIL)),
        answer=dispatch.SendMessageResponse(message="Email sent successfully", message_id="m-1"),
        json={
            "message": "Email sent successfully",
            "messageId": "m-1",
            "state": "UNSPECIFIED",
            "provider": "",
            "providerId": "",
            "possibleDuplicate": False,
            "attempts": [],
        },
    ),
    "POST /v1/messages:sendBulk": Case(
        url="/v1/messages:sendBulk",
        body={"message": {"channel": "SMS", "text": "x"}, "recipients": ["+14155550100"]},
        rpc="SendBulkMessages",
        request=dispatch.SendBulkMessagesRequest(
            message=message_pb2.MessageSpec(channel=CHANNEL_SMS, text="x"), recipients=["+14155550100"]
        ),
        answer=dispatch.SendBulkMessagesResponse(message="Bulk sms processed: 0 sent, 0 failed"),
        json={"message": "Bulk sms processed: 0 sent, 0 failed", "success": False, "results": []},
    ),
    "GET /v1/messages/{message_id}/events": Case(
        url="/v1/messages/m-1/events?afterSequence=3",
        headers=AS_JSON,
        rpc="WatchMessage",
        request=dispatch.WatchMessageRequest(message_id="m-1", after_sequence=3),
        answer=[EVENT],
        json={"events": [EVENT_JSON], "lastEventId": "1"},
    ),
    "GET /v1/projects/{project_id}/events": Case(
        url="/v1/projects/demo/events?resumeToken=abc",
        headers=AS_JSON,
        rpc="WatchProject",
        request=dispatch.WatchProjectRequest(project_id="demo", resume_token="abc"),
        answer=[dispatch.WatchProjectResponse(event=EVENT, resume_token="next")],
        json={"events": [EVENT_JSON], "lastEventId": "next"},
    ),
    "GET /v1/messages/{id}": Case(
        url="/v1/messages/m-1",
        rpc="GetMessage",
        request=dispatch.GetMessageRequest(id="m-1"),
        answer=MESSAGE,
        json=MESSAGE_JSON,
    ),
    "GET /v1/messages": Case(
        url="/v1/messages?projectId=demo&state=SENT&channel=EMAIL&pageSize=10",
        rpc="ListMessages",
        request=dispatch.ListMessagesRequest(
            project_id="demo", state=message_pb2.Message.STATE_SENT, channel=CHANNEL_EMAIL, page_size=10
        ),
        answer=dispatch.ListMessagesResponse(messages=[MESSAGE]),
        json={"messages": [MESSAGE_JSON], "nextPageToken": ""},
    ),
    "POST /v1/messages/{id}:cancel": Case(
        url="/v1/messages/m-1:cancel",
        rpc="CancelMessage",
        request=dispatch.CancelMessageRequest(id="m-1"),
        answer=MESSAGE,
        json=MESSAGE_JSON,
    ),
    "POST /v1/messages/{id}:retry": Case(
        url="/v1/messages/m-1:retry",
        body={},
        rpc="RetryMessage",
        request=dispatch.RetryMessageRequest(id="m-1"),
        answer=MESSAGE,
        json=MESSAGE_JSON,
    ),
    "POST /v1/messages:explain": Case(
        url="/v1/messages:explain",
        body=CONTENT | {"channel": "EMAIL"},
        rpc="ExplainRoute",
        request=dispatch.ExplainRouteRequest(message=_spec(CHANNEL_EMAIL)),
        answer=dispatch.ExplainRouteResponse(chain_version=7, state=message_pb2.Message.STATE_SENT),
        json={"steps": [], "chainVersion": "7", "state": "SENT", "reason": ""},
    ),
}

ROUTES: dict[str, Case] = {
    **_configuration(CHANNEL_EMAIL, "email"),
    **_configuration(CHANNEL_SMS, "sms"),
    **_sending(CHANNEL_EMAIL, "email", "Email"),
    **_sending(CHANNEL_SMS, "sms", "SMS"),
    **_CANONICAL_CONFIG,
    **_CANONICAL_DISPATCH,
}


def test_every_route_of_the_contract_is_in_the_table():
    """A route that the protos have and this table has not, or the other way round, fails here."""
    assert {codec.route.name for codec in codecs()} == set(ROUTES)


@pytest.mark.parametrize("name", sorted(ROUTES))
async def test_route(house: House, name: str):
    """The route's JSON becomes exactly its request message, and the answer its documented JSON and status."""
    case = ROUTES[name]
    method = name.partition(" ")[0]
    service = house.config if case.rpc in CONFIG.methods_by_name else house.dispatch
    service.answers[case.rpc] = case.answer
    response = await house.client.request(method, case.url, json=case.body, headers=case.headers)

    assert response.status_code == case.status, response.text
    assert (service.last.rpc, service.last.request) == (case.rpc, case.request)
    if case.status == 204:
        assert response.content == b""
    else:
        assert response.json() == case.json
        assert response.headers["content-type"] == "application/json"
