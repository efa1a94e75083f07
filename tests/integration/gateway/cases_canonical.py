"""The canonical routes below /v1 (rest-api §5), one case each. No test."""

from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask
from messagepipe.config.v1 import config_service_pb2 as config
from messagepipe.config.v1 import provider_pb2
from messagepipe.dispatch.v1 import dispatch_service_pb2 as dispatch
from messagepipe.dispatch.v1 import message_pb2
from messagepipe.type.v1.channel_pb2 import CHANNEL_EMAIL, CHANNEL_SMS

from tests.integration.gateway.cases import (
    AS_JSON,
    CONTENT,
    EVENT,
    EVENT_JSON,
    MESSAGE,
    MESSAGE_JSON,
    SCHEMA,
    SCHEMA_JSON,
    SENDER,
    SENDER_JSON,
    Case,
    a_provider,
    a_spec,
    provider_json,
)

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
        answer=a_provider(),
        json=provider_json(),
        status=201,
    ),
    "GET /v1/providers/{id}": Case(
        url="/v1/providers/p-1",
        rpc="GetProvider",
        request=config.GetProviderRequest(id="p-1"),
        answer=a_provider(),
        json=provider_json(),
    ),
    "GET /v1/providers": Case(
        url="/v1/providers?projectId=demo&pageSize=2&page_token=t",
        rpc="ListProviders",
        request=config.ListProvidersRequest(project_id="demo", page_size=2, page_token="t"),
        answer=config.ListProvidersResponse(providers=[a_provider()], next_page_token="n"),
        json={"providers": [provider_json()], "nextPageToken": "n"},
    ),
    "PATCH /v1/providers/{provider.id}": Case(
        url="/v1/providers/p-1",
        body={"name": "B"},
        rpc="UpdateProvider",
        request=config.UpdateProviderRequest(
            provider=provider_pb2.Provider(id="p-1", name="B"), update_mask=FieldMask(paths=["name"])
        ),
        answer=a_provider(),
        json=provider_json(),
    ),
    "PUT /v1/providers/{provider.id}": Case(
        url="/v1/providers/p-1?updateMask=name,enabled",
        body={"name": "B"},
        rpc="UpdateProvider",
        request=config.UpdateProviderRequest(
            provider=provider_pb2.Provider(id="p-1", name="B"), update_mask=FieldMask(paths=["name", "enabled"])
        ),
        answer=a_provider(),
        json=provider_json(),
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
        answer=config.ReorderProvidersResponse(providers=[a_provider()]),
        json={"providers": [provider_json()]},
    ),
    "POST /v1/providers/{id}:test": Case(
        url="/v1/providers/p-1:test",
        body={"sandboxSend": True},
        rpc="TestProvider",
        request=config.TestProviderRequest(id="p-1", sandbox_send=True),
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
            update_mask=FieldMask(paths=["sender_id"]),
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
            message=a_spec(CHANNEL_EMAIL, ttl={"seconds": 90}, attachments=[{"filename": "a.txt", "content": b"hi"}])
        ),
        answer=MESSAGE,
        json=MESSAGE_JSON,
        status=202,
    ),
    "POST /v1/messages:batch": Case(
        url="/v1/messages:batch",
        body={"messages": [CONTENT | {"channel": "EMAIL"}]},
        rpc="BatchCreateMessages",
        request=dispatch.BatchCreateMessagesRequest(messages=[a_spec(CHANNEL_EMAIL)]),
        answer=dispatch.BatchCreateMessagesResponse(
            results=[dispatch.BatchCreateMessagesResponse.Result(message_id="m-1", replayed=True)], accepted=1
        ),
        json={"results": [{"messageId": "m-1", "replayed": True}], "accepted": 1, "refused": 0},
    ),
    "POST /v1/messages:dispatch": Case(
        url="/v1/messages:dispatch",
        body=CONTENT | {"channel": "EMAIL"},
        headers=AS_JSON,
        rpc="DispatchMessage",
        request=dispatch.DispatchMessageRequest(message=a_spec(CHANNEL_EMAIL)),
        answer=[EVENT],
        json={"events": [EVENT_JSON], "lastEventId": "1"},
    ),
    "POST /v1/messages:send": Case(
        url="/v1/messages:send",
        body=CONTENT | {"channel": "EMAIL"},
        rpc="SendMessage",
        request=dispatch.SendMessageRequest(message=a_spec(CHANNEL_EMAIL)),
        answer=dispatch.SendMessageResponse(message="Email sent successfully", message_id="m-1"),
        json={
            "message": "Email sent successfully",
            "messageId": "m-1",
            "state": "UNSPECIFIED",
            "provider": "",
            "providerId": "",
            "possibleDuplicate": False,
            "attempts": [],
            "replayed": False,
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
        body={"acceptDuplicate": True, "generation": 2},
        rpc="RetryMessage",
        request=dispatch.RetryMessageRequest(id="m-1", accept_duplicate=True, generation=2),
        answer=MESSAGE,
        json=MESSAGE_JSON,
    ),
    "POST /v1/messages:retry": Case(
        url="/v1/messages:retry",
        body={"channel": "SMS", "deliveryLogId": "m-1"},
        rpc="RetryDelivery",
        request=dispatch.RetryDeliveryRequest(channel=CHANNEL_SMS, delivery_log_id="m-1"),
        answer=dispatch.RetryDeliveryResponse(message="SMS added to retry queue successfully"),
        json={"message": "SMS added to retry queue successfully"},
    ),
    "POST /v1/messages:retryMultiple": Case(
        url="/v1/messages:retryMultiple",
        body={"deliveryLogIds": ["m-1"]},
        rpc="RetryDeliveries",
        request=dispatch.RetryDeliveriesRequest(delivery_log_ids=["m-1"]),
        answer=dispatch.RetryDeliveriesResponse(message="Messages processed for retry"),
        json={"message": "Messages processed for retry", "results": []},
    ),
    "POST /v1/messages:explain": Case(
        url="/v1/messages:explain",
        body=CONTENT | {"channel": "EMAIL"},
        rpc="ExplainRoute",
        request=dispatch.ExplainRouteRequest(message=a_spec(CHANNEL_EMAIL)),
        answer=dispatch.ExplainRouteResponse(chain_version=7, state=message_pb2.Message.STATE_SENT),
        json={"steps": [], "chainVersion": "7", "state": "SENT", "reason": ""},
    ),
}


CANONICAL: dict[str, Case] = {**_CANONICAL_CONFIG, **_CANONICAL_DISPATCH}
