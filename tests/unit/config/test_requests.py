"""What requests ask for."""

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Struct
from messagepipe.config.v1 import config_service_pb2 as pb2
from messagepipe.config.v1 import provider_pb2
from messagepipe.type.v1 import channel_pb2

from services.adapters.base import Channel
from services.chassis.errors import InvalidArgument
from services.chassis.pagination import parse_page
from services.config.channel_config import SenderChange
from services.config.errors import ProjectNotFound
from services.config.kinds import Kinds
from services.config.provider import Hold
from services.config.requests import (
    optional_channel,
    read_change,
    read_draft,
    read_key,
    read_page,
    read_sender_change,
)
from tests.unit.config.builders import ID, NOON, a_principal, a_spec

SHOP = a_principal("shop")
KINDS = Kinds([a_spec()])


def a_struct(**value: Any) -> Struct:
    """A JSON object as the wire has it."""
    struct = Struct()
    struct.update(value)
    return struct


def an_update(*paths: str, **values: Any) -> pb2.UpdateProviderRequest:
    """A change of one provider; `paths` are the mask."""
    provider = provider_pb2.Provider(id=str(ID), **values)
    return pb2.UpdateProviderRequest(provider=provider, update_mask=FieldMask(paths=paths))


def test_draft_has_defaults() -> None:
    """Without them a provider is enabled, its priority is decided later, and null and blank members are gone."""
    config = a_struct(apiKey="k", signingKey="", port=25.0, auth=None)
    provider = provider_pb2.Provider(channel=channel_pb2.CHANNEL_EMAIL, kind="acme", name="A", config=config)
    draft = read_draft(SHOP, pb2.CreateProviderRequest(provider=provider), KINDS)
    assert (draft.project_id, draft.enabled, draft.priority) == ("shop", True, None)
    assert draft.config == {"apiKey": "k", "port": 25}


def test_foreign_project_comes_before_violations() -> None:
    """A project that is not the caller's learns nothing about the rest of the request."""
    with pytest.raises(ProjectNotFound):
        read_draft(SHOP, pb2.CreateProviderRequest(project_id="other"), KINDS)


def test_request_without_a_provider() -> None:
    """The whole provider is required, and its members are not asked for one by one."""
    with pytest.raises(InvalidArgument) as caught:
        read_draft(SHOP, pb2.CreateProviderRequest(), KINDS)
    assert [violation.field for violation in caught.value.violations] == ["provider"]


def test_empty_mask_means_what_is_set() -> None:
    """Optional members count as set also with 0 and false; a name counts when it is not empty."""
    change, problems = read_change(an_update(enabled=False, priority=0))
    assert (change.name, change.enabled, change.priority, change.config) == (None, False, 0, None)
    assert problems == []
    change, _ = read_change(an_update(name="x", config=a_struct()))
    assert (change.name, change.config) == ("x", {})


def test_mask_chooses() -> None:
    """What the mask does not name is left, whatever the provider holds; an empty name in the mask is a value."""
    change, problems = read_change(an_update("name", enabled=False, priority=3))
    assert (change.name, change.enabled, change.priority) == ("", None, None)
    assert problems == []


@pytest.mark.parametrize("path", ["enabled", "priority", "hold", "config"])
def test_named_and_without_a_value(path: str) -> None:
    """A member that the mask names and that has no value is a violation, not a reset."""
    _, problems = read_change(an_update(path))
    assert [violation.field for violation in problems] == [f"provider.{path}"]


def test_a_hold_is_a_word_of_the_contract() -> None:
    """Out, in, or left to its health; not said leaves it as it is, a number of the future is a violation."""
    out, problems = read_change(an_update(hold=provider_pb2.Provider.HOLD_OUT))
    silent, _ = read_change(an_update(name="x"))
    assert (out.hold, silent.hold, problems) == (Hold.OUT, None, [])
    for number in (0, 9):
        _, problems = read_change(an_update("hold", hold=number))
        assert [violation.field for violation in problems] == ["provider.hold"]


@pytest.mark.parametrize("path", ["nickname", "*", "config.apiKey", "provider", ""])
def test_unknown_mask_path(path: str) -> None:
    """A path that is no field of a provider is a violation which names those that can change."""
    _, problems = read_change(an_update(path, "name", name="x"))
    assert [violation.field for violation in problems] == ["updateMask"]
    assert problems[0].description.endswith("name, enabled, priority, hold, config")


def test_fields_that_nobody_changes_may_be_in_the_mask() -> None:
    """A body that was read before holds them too."""
    paths = ["id", "version", "created_at", "updated_at", "project_id", "channel", "kind", "name"]
    change, problems = read_change(an_update(*paths, name="x", kind="acme", project_id="shop"))
    assert (change.name, change.kind, change.project_id, problems) == ("x", "acme", "shop", [])


def test_update_needs_an_id() -> None:
    """Without an id there is nothing to look for."""
    with pytest.raises(InvalidArgument, match=r"provider\.id"):
        read_change(pb2.UpdateProviderRequest())


def test_channel_of_the_future() -> None:
    """An enum number the contract does not have is refused, an unset one means "not said"."""
    assert optional_channel(0) is None
    assert optional_channel(2) is Channel.SMS
    with pytest.raises(InvalidArgument):
        optional_channel(3)


def test_key_needs_a_channel() -> None:
    """Project and channel problems come together."""
    with pytest.raises(InvalidArgument) as caught:
        read_key(a_principal("*"), pb2.GetChannelConfigRequest())
    assert sorted(violation.field for violation in caught.value.violations) == ["channel", "projectId"]


def test_sender_change_by_mask() -> None:
    """A sender's members are chosen like a provider's; "" in the mask removes."""
    config = provider_pb2.ChannelConfig(channel=channel_pb2.CHANNEL_EMAIL, sender_email="a@b.test")
    request = pb2.UpdateChannelConfigRequest(channel_config=config, update_mask=FieldMask(paths=["sender_name"]))
    key, change, problems = read_sender_change(SHOP, request)
    assert (key, problems) == (("shop", Channel.EMAIL), [])
    assert change == SenderChange(sender_name="")


def test_page_goes_on_after_the_last_one() -> None:
    """The position behind a page comes back from its token as it was."""
    first = read_page(SHOP, pb2.ListProvidersRequest())
    assert (first.project_id, first.after, first.page.size) == ("shop", None, 100)
    token = first.page.next_token("EMAIL", 7, NOON.isoformat(), str(ID))
    following = read_page(SHOP, pb2.ListProvidersRequest(page_token=token, page_size=1000))
    assert (following.after, following.page.size) == (("EMAIL", 7, NOON, ID), 200)


@pytest.mark.parametrize(
    "cursor",
    [
        ("EMAIL", 2_000_000_000_000, NOON.isoformat(), str(ID)),
        ("EMAIL", 1, "yesterday", str(ID)),
        ("EMAIL", 1, "2026-01-01T12:00:00", str(ID)),
        ("EMAIL", 1, NOON.isoformat(), "x"),
        ("EMAIL", 1, NOON.isoformat()),
        (1, 1, NOON.isoformat(), str(ID)),
    ],
)
def test_made_up_tokens_are_refused(cursor: tuple[str | int, ...]) -> None:
    """A token somebody made up, with the right filter, does not reach the database."""
    token = parse_page(0, "", "ListProviders", "shop", "").next_token(*cursor)
    with pytest.raises(InvalidArgument, match="pageToken"):
        read_page(SHOP, pb2.ListProvidersRequest(page_token=token))


def test_page_problems_come_together() -> None:
    """Project, channel, size and token are told at once."""
    request = pb2.ListProvidersRequest(project_id="a b", page_size=-1, page_token="x")
    request.channel = 9  # type: ignore[assignment]
    with pytest.raises(InvalidArgument) as caught:
        read_page(SHOP, request)
    fields = sorted(violation.field for violation in caught.value.violations)
    assert fields == ["channel", "pageSize", "pageToken", "projectId"]
