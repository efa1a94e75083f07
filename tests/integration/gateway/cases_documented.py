"""The documented routes (rest-api §1 and §2), one case each. No test."""

from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Struct, Value
from messagepipe.config.v1 import config_service_pb2 as config
from messagepipe.config.v1 import provider_pb2
from messagepipe.dispatch.v1 import dispatch_service_pb2 as dispatch
from messagepipe.dispatch.v1 import message_pb2
from messagepipe.type.v1.channel_pb2 import CHANNEL_EMAIL, CHANNEL_SMS, Channel

from tests.integration.gateway.cases import (
    CONTENT,
    SCHEMA,
    SCHEMA_JSON,
    SENDER,
    SENDER_JSON,
    Case,
    a_provider,
    a_spec,
    provider_json,
)

TEST_SENT_JSON = {
    "recipient": "+14155550100",
    "outcome": "ACCEPTED",
    "reason": "",
    "providerCode": "",
    "providerText": "",
    "providerMessageId": "SM1",
}


def _configuration(channel: "Channel.ValueType", word: str) -> dict[str, Case]:  # size: a table, read as one
    """The documented routes of one channel's configuration (rest-api §1)."""
    base = f"/{word}-config"
    body = {"provider": "sendgrid", "name": "Primary", "enabled": True, "priority": 1, "config": {"apiKey": "k"}}
    made = provider_pb2.Provider(kind="sendgrid", name="Primary", enabled=True, priority=1, channel=channel)
    made.config.update({"apiKey": "k"})
    changed = provider_pb2.Provider(id="p-1", channel=channel)
    changed.enabled, changed.priority = False, 0
    change = FieldMask(paths=["enabled", "priority"])
    sender = {"senderEmail": "noreply@yourcompany.com", "senderName": "Your Company Name", "enabled": True}
    said = provider_pb2.ChannelConfig(
        channel=channel, sender_email="noreply@yourcompany.com", sender_name="Your Company Name", enabled=True
    )
    mask = FieldMask(paths=["sender_email", "sender_name", "enabled"])
    trial = config.TestProviderRequest(id="p-1", channel=channel, recipient="+14155550100")
    trial.config.update({"apiKey": "k"})
    sent = config.TestProviderResponse.Sent(recipient="+14155550100", outcome="ACCEPTED", provider_message_id="SM1")
    verdict = config.TestProviderResponse(verdict=config.TestProviderResponse.VERDICT_GOOD, message="ok", sent=sent)
    answer, answer_json = a_provider(channel), provider_json(word.upper())
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
            request=config.UpdateProviderRequest(provider=changed, update_mask=change),
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
            body={"config": {"apiKey": "k"}, "recipient": "+14155550100"},
            rpc="TestProvider",
            request=trial,
            answer=verdict,
            json={"verdict": "GOOD", "message": "ok", "sent": TEST_SENT_JSON},
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


def _sending(channel: "Channel.ValueType", word: str, name: str) -> dict[str, Case]:  # size: a table, read as one
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
    bulk_body = {key: value for key, value in CONTENT.items() if key != "to"} | {
        "recipients": ["a@example.com"],
        "recipientVariables": {"a@example.com": {"name": "Ada"}},
    }
    theirs = Struct(fields={"name": Value(string_value="Ada")})
    return {
        f"POST /{word}/send": Case(
            url=f"/{word}/send",
            body=CONTENT | {"preferredProvider": "ses", "from": "me@example.com"},
            rpc="SendMessage",
            request=dispatch.SendMessageRequest(
                message=a_spec(channel, preferred_provider="ses", sender="me@example.com")
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
                "replayed": False,
            },
        ),
        f"POST /{word}/send-bulk": Case(
            url=f"/{word}/send-bulk",
            body=bulk_body,
            rpc="SendBulkMessages",
            request=dispatch.SendBulkMessagesRequest(
                message=a_spec(channel, to=""),
                recipients=["a@example.com"],
                recipient_variables={"a@example.com": theirs},
            ),
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
                        "replayed": False,
                    }
                ],
            },
        ),
    }


def _retrying(channel: "Channel.ValueType", word: str, noun: str, nouns: str) -> dict[str, Case]:
    """The documented routes of retrying (rest-api §2)."""
    result = dispatch.RetryDeliveriesResponse.Result(delivery_log_id="m-1", success=True)
    return {
        f"POST /{word}/retry": Case(
            url=f"/{word}/retry",
            body={"deliveryLogId": "m-1"},
            rpc="RetryDelivery",
            request=dispatch.RetryDeliveryRequest(channel=channel, delivery_log_id="m-1"),
            answer=dispatch.RetryDeliveryResponse(message=f"{noun} added to retry queue successfully"),
            json={"message": f"{noun} added to retry queue successfully"},
        ),
        f"POST /{word}/retry-multiple": Case(
            url=f"/{word}/retry-multiple",
            body={"deliveryLogIds": ["m-1"]},
            rpc="RetryDeliveries",
            request=dispatch.RetryDeliveriesRequest(channel=channel, delivery_log_ids=["m-1"]),
            answer=dispatch.RetryDeliveriesResponse(message=f"{nouns} processed for retry", results=[result]),
            json={
                "message": f"{nouns} processed for retry",
                "results": [{"deliveryLogId": "m-1", "success": True, "error": ""}],
            },
        ),
    }


DOCUMENTED: dict[str, Case] = {
    **_configuration(CHANNEL_EMAIL, "email"),
    **_configuration(CHANNEL_SMS, "sms"),
    **_sending(CHANNEL_EMAIL, "email", "Email"),
    **_sending(CHANNEL_SMS, "sms", "SMS"),
    **_sending(CHANNEL_SMS, "message", "SMS"),
    **_retrying(CHANNEL_EMAIL, "email", "Email", "Emails"),
    **_retrying(CHANNEL_SMS, "sms", "SMS", "SMS"),
}
