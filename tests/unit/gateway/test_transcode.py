"""One route's translation, both ways."""

import json
from typing import Any

import pytest
from messagepipe.config.v1 import config_service_pb2 as config
from messagepipe.config.v1 import provider_pb2

from gateway.app import codecs
from gateway.transcode import Transcoder
from services.chassis.errors import InvalidArgument

CODECS = {codec.route.name: codec for codec in codecs()}
PUT = CODECS["PUT /email-config/providers/{provider.id}"]
PATCH_SENDER = CODECS["PATCH /v1/channel-configs/{channel_config.channel}"]
BULK = CODECS["POST /email/send-bulk"]


def request(
    codec: Transcoder, body: Any = None, variables: dict[str, str] | None = None, *query: tuple[str, str]
) -> Any:
    """The request that a body, path and query become."""
    data = b"" if body is None else json.dumps(body).encode()
    return codec.request(variables or {}, list(query), data)


def wrong(codec: Transcoder, body: Any, variables: dict[str, str] | None = None) -> list[str]:
    """The fields that are wrong."""
    with pytest.raises(InvalidArgument) as refused:
        request(codec, body, variables)
    return [each.field for each in refused.value.violations]


def test_the_members_of_the_body_become_the_mask():
    """Top-level members only, `config` as a whole, null members too."""
    made = request(PUT, {"config": {"a": {"b": None}}, "name": None}, {"provider.id": "p"})

    assert list(made.update_mask.paths) == ["config", "name"]


def test_what_can_not_change_is_not_in_the_mask():
    """So that what GET answered can be changed and sent back: ids, constants and outputs pass."""
    body = {"id": "p", "channel": "EMAIL", "version": "3", "createdAt": "2024-01-01T10:00:00Z", "priority": 2}
    made = request(PUT, body, {"provider.id": "p"})

    assert list(made.update_mask.paths) == ["priority"]
    sender = request(PATCH_SENDER, {"senderId": "x", "channel": "SMS"}, {"channel_config.channel": "SMS"})
    assert list(sender.update_mask.paths) == ["sender_id"]


def test_a_mask_of_the_caller_s_own_wins():
    """It is taken as it is."""
    made = request(PUT, {"name": "x"}, {"provider.id": "p"}, ("updateMask", "enabled"))

    assert list(made.update_mask.paths) == ["enabled"]


def test_an_enum_in_the_path_is_a_word():
    """And a wrong one is told by the field's name."""
    made = request(PATCH_SENDER, {"senderId": "x"}, {"channel_config.channel": "SMS"})

    assert made.channel_config.channel == 2
    assert wrong(PATCH_SENDER, {}, {"channel_config.channel": "FAX"}) == ["channelConfig.channel"]


def test_lifted_members_leave_the_body():
    """`recipients` belongs to the request, the rest to the message; mistakes in either are told."""
    made = request(BULK, {"recipients": ["a", "b"], "text": "x"})

    assert (list(made.recipients), made.message.text, made.message.channel) == (["a", "b"], "x", 1)
    assert wrong(BULK, {"recipients": "a", "txt": "x"}) == ["recipients", "txt"]


def test_a_repeated_lifted_member_is_told():
    """Lifting does not lose the mark."""
    with pytest.raises(InvalidArgument, match="recipients: stands more than once"):
        BULK.request({}, [], b'{"recipients": ["a"], "recipients": ["b"]}')


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("POST /v1/messages/{id}:cancel", False),
        ("POST /email-config/providers/{id}/test", False),
        ("POST /v1/providers:reorder", True),
        ("POST /v1/messages", True),
        ("PUT /email-config", True),
        ("GET /v1/messages", False),
    ],
)
def test_a_body_is_needed_where_something_required_is_in_it(name: str, needed: bool):
    """`:cancel` takes an empty body, creating does not."""
    assert CODECS[name].needs_body is needed


def test_an_empty_object_is_a_body():
    """An update of nothing is asked for, not refused here."""
    assert request(PUT, {}, {"provider.id": "p"}).HasField("provider")


def test_a_response_body_is_the_whole_answer():
    """The documented lists are lists."""
    answer = config.ListProvidersResponse(providers=[provider_pb2.Provider(id="1")])

    assert json.loads(CODECS["GET /email-config/providers"].answer(answer))[0]["id"] == "1"


def test_fields_are_shown_relative_to_the_body():
    """As the caller wrote them."""
    assert PUT.shown("provider.config") == "config"
    assert PUT.shown("updateMask") == "updateMask"
    assert CODECS["POST /v1/providers:reorder"].shown("projectId") == "projectId"
