"""Nothing crosses projects: another project's id answers like one that does not exist, for every method and id field.

The tables below are checked against the descriptors: a new method or field fails here until somebody has thought of it.
"""

import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from messagepipe.config.v1 import config_service_pb2 as pb2
from messagepipe.config.v1 import project_service_pb2 as projects
from messagepipe.config.v1 import provider_pb2

from services.chassis.contract import CONFIG_SERVICES
from services.chassis.errors import ServiceError
from services.config.app import RunningConfig
from tests.integration.config.service import EMAIL, NOWHERE, Caller, a_creation, a_struct, calling

Asked = Callable[[str], Message]


def _sender() -> provider_pb2.ChannelConfig:
    return provider_pb2.ChannelConfig(channel=EMAIL, sender_email="a@shop.test")


def _sender_of(project: str) -> provider_pb2.ChannelConfig:
    return provider_pb2.ChannelConfig(channel=EMAIL, sender_email="a@shop.test", project_id=project)


def _reordered(ids: list[str], project: str = "shop") -> Message:
    return pb2.ReorderProvidersRequest(project_id=project, channel=EMAIL, provider_ids=ids)


def _creation_in(project: str) -> Message:
    request = a_creation(project="")
    request.provider.project_id = project
    return request


def _changed(provider_id: str) -> Message:
    return pb2.UpdateProviderRequest(provider=provider_pb2.Provider(id=provider_id, name="stolen"))


# For each method and field that names something of a project: a request that names it, and the reason of the answer.
BY_PROVIDER_ID: dict[tuple[str, str], tuple[Asked, str]] = {
    ("GetProvider", "id"): (lambda it: pb2.GetProviderRequest(id=it), "PROVIDER_NOT_FOUND"),
    ("UpdateProvider", "provider.id"): (_changed, "PROVIDER_NOT_FOUND"),
    ("DeleteProvider", "id"): (lambda it: pb2.DeleteProviderRequest(id=it), "PROVIDER_NOT_FOUND"),
    ("ReorderProviders", "provider_ids"): (lambda it: _reordered([it]), "INVALID_ARGUMENT"),
    ("GetOpenedProvider", "id"): (lambda it: pb2.GetOpenedProviderRequest(id=it), "PROVIDER_NOT_FOUND"),
    ("TestProvider", "id"): (lambda it: pb2.TestProviderRequest(id=it), "PROVIDER_NOT_FOUND"),
}
BY_PROJECT_ID: dict[tuple[str, str], Asked] = {
    ("CreateProvider", "project_id"): lambda it: a_creation(project=it),
    ("CreateProvider", "provider.project_id"): _creation_in,
    ("ListProviders", "project_id"): lambda it: pb2.ListProvidersRequest(project_id=it),
    ("ReorderProviders", "project_id"): lambda it: _reordered([NOWHERE], it),
    ("GetChannelConfig", "project_id"): lambda it: pb2.GetChannelConfigRequest(project_id=it, channel=EMAIL),
    ("CreateChannelConfig", "project_id"): lambda it: pb2.CreateChannelConfigRequest(
        project_id=it, channel_config=_sender()
    ),
    ("CreateChannelConfig", "channel_config.project_id"): lambda it: pb2.CreateChannelConfigRequest(
        channel_config=_sender_of(it)
    ),
    ("UpdateChannelConfig", "project_id"): lambda it: pb2.UpdateChannelConfigRequest(
        project_id=it, channel_config=_sender()
    ),
    ("UpdateChannelConfig", "channel_config.project_id"): lambda it: pb2.UpdateChannelConfigRequest(
        channel_config=_sender_of(it)
    ),
    ("GetProject", "id"): lambda it: projects.GetProjectRequest(id=it),
    ("DeleteProject", "id"): lambda it: projects.DeleteProjectRequest(id=it, confirm=it),
    ("CreateApiKey", "project_id"): lambda it: projects.CreateApiKeyRequest(project_id=it, name="Mine"),
    ("ListApiKeys", "project_id"): lambda it: projects.ListApiKeysRequest(project_id=it),
    ("UpdateApiKey", "project_id"): lambda it: projects.UpdateApiKeyRequest(project_id=it, id=NOWHERE),
    ("DeleteApiKey", "project_id"): lambda it: projects.DeleteApiKeyRequest(project_id=it, id=NOWHERE),
    ("ResolveChain", "project_id"): lambda it: pb2.ResolveChainRequest(project_id=it, channel=EMAIL),
}
# Names nothing that could be read or changed, and why.
NOTHING = {
    ("CreateProvider", "provider.id"): "chosen by the service, ignored",
    ("UpdateProvider", "provider.project_id"): "must be the provider's own, see test_kind_and_project_can_not_change",
    ("CreateProject", "id"): "a new one, by who may use all projects",
    ("ListProjects", "page_token"): "a place in a list of what the caller's token names",
    ("UpdateApiKey", "id"): "of the project that is named, see the test below",
    ("DeleteApiKey", "id"): "of the project that is named, see the test below",
    ("RecordApiKeyUses", "uses.id"): "says nothing; a key of another project is left as it is, see the test below",
    ("SealSecret", "place.project_id"): "scope internal: it is sealed for this project",
    ("SealSecret", "place.owner_id"): "the same",
    ("OpenSecret", "place.project_id"): "the same: test_vault_service.py",
    ("OpenSecret", "place.owner_id"): "the same",
    ("OpenSecret", "sealed.key_id"): "a key of the vault",
    ("ListProviders", "page_token"): "a place in a list of the caller's own project, see the test below",
}


def _id_fields(message: Descriptor, prefix: str = "") -> set[str]:
    found = set()
    for field in message.fields:
        if field.message_type is not None and field.message_type.file.package.startswith("messagepipe."):
            found |= _id_fields(field.message_type, f"{prefix}{field.name}.")
        elif re.search(r"(^|_)(id|ids|token)$", field.name) and field.name != "sender_id":
            found.add(prefix + field.name)
    return found


@pytest.fixture
async def stranger(config: RunningConfig) -> AsyncIterator[Caller]:
    """A caller of another project, with every scope."""
    async with calling(config.address, ["other"]) as someone:
        yield someone


def _body(error: ServiceError, said: str) -> Any:
    violations = [(each.field, each.description) for each in error.violations]
    return re.sub(re.escape(said), "<id>", repr((error.code, error.reason, error.message, error.metadata, violations)))


def test_every_id_field_of_every_method_is_covered() -> None:
    """The tables above name each field of the contract that names something of a project, and no other."""
    there = {
        (method.name, path)
        for service in CONFIG_SERVICES
        if service.name != "TemplateService"  # test_template_projects.py has it
        for method in service.methods
        for path in _id_fields(method.input_type)
    }
    assert there == BY_PROVIDER_ID.keys() | BY_PROJECT_ID.keys() | NOTHING.keys()


@pytest.mark.parametrize("where", BY_PROVIDER_ID, ids=".".join)
async def test_foreign_provider_answers_like_an_unknown_one(
    caller: Caller, stranger: Caller, where: tuple[str, str]
) -> None:
    """Another project's provider, an unknown id and a text that is no id answer alike, and nothing is changed."""
    mine = await caller.create()
    asked, reason = BY_PROVIDER_ID[where]
    ids = [mine.id, NOWHERE, "no-id"]
    if where[0] == "ReorderProviders":
        asked = lambda it: _reordered([it], "other")  # noqa: E731 - the stranger's own project, with an id of ours
    errors = [await stranger.refused(where[0], asked(it)) for it in ids]
    assert errors[0].reason == reason
    assert len({_body(error, it) for error, it in zip(errors, ids, strict=True)}) == 1
    assert await caller.call("GetProvider", pb2.GetProviderRequest(id=mine.id)) == mine


@pytest.mark.parametrize("where", BY_PROJECT_ID, ids=".".join)
async def test_foreign_project_answers_like_an_unknown_one(
    caller: Caller, stranger: Caller, where: tuple[str, str]
) -> None:
    """A project with something in it and one that nobody uses answer alike to a token that names neither."""
    mine = await caller.create()
    await caller.call("CreateChannelConfig", pb2.CreateChannelConfigRequest(channel_config=_sender()))
    asked = BY_PROJECT_ID[where]
    errors = [await stranger.refused(where[0], asked(project)) for project in ("shop", "nobody")]
    assert errors[0].reason == "PROJECT_NOT_FOUND"
    assert _body(errors[0], "shop") == _body(errors[1], "nobody")
    assert (await caller.resolve()).version == 2
    assert await caller.call("GetProvider", pb2.GetProviderRequest(id=mine.id)) == mine


async def test_page_token_of_another_project_is_refused(caller: Caller, stranger: Caller) -> None:
    """A token does not carry over to another project, and never shows anything of its own."""
    await caller.create()
    await caller.create()
    page = await caller.call("ListProviders", pb2.ListProvidersRequest(page_size=1))
    request = pb2.ListProvidersRequest(page_token=page.next_page_token)
    assert (await stranger.refused("ListProviders", request)).reason == "INVALID_ARGUMENT"


async def test_foreign_api_key_answers_like_an_unknown_one(caller: Caller, stranger: Caller) -> None:
    """Another project's key, an unknown id and a text that is no id answer alike, and nothing is changed."""
    mine = await caller.call("CreateApiKey", projects.CreateApiKeyRequest(project_id="shop", name="Mine"))
    for method, request in (
        ("UpdateApiKey", projects.UpdateApiKeyRequest),
        ("DeleteApiKey", projects.DeleteApiKeyRequest),
    ):
        ids = [mine.id, NOWHERE, "no-id"]
        errors = [await stranger.refused(method, request(project_id="other", id=it)) for it in ids]
        assert errors[0].reason == "API_KEY_NOT_FOUND"
        assert len({_body(error, it) for error, it in zip(errors, ids, strict=True)}) == 1
    use = projects.RecordApiKeyUsesRequest.Use(id=mine.id)
    use.used_at.GetCurrentTime()
    await stranger.call("RecordApiKeyUses", projects.RecordApiKeyUsesRequest(uses=[use]))
    (kept,) = (await caller.call("ListApiKeys", projects.ListApiKeysRequest(project_id="shop"))).api_keys
    assert (kept.name, kept.is_active, kept.HasField("last_used_at")) == ("Mine", True, False)


async def test_projects_do_not_see_each_other(caller: Caller, stranger: Caller) -> None:
    """Two projects with the same channel keep providers, senders and chains apart."""
    await caller.create(config={"apiKey": "of-shop"})
    await stranger.create(project="other", config={"apiKey": "of-other"})
    answer = await stranger.call("ListProviders", pb2.ListProvidersRequest())
    assert [provider.project_id for provider in answer.providers] == ["other"]
    (link,) = (await stranger.resolve("other")).links
    assert link.opened_config == a_struct({"apiKey": "of-other"})


async def test_token_of_many_projects_has_to_say_which(config: RunningConfig) -> None:
    """Two projects in the token, or all of them, and none in the request: the field is required."""
    for named in (["shop", "other"], "*"):
        async with calling(config.address, named) as someone:
            error = await someone.refused("ListProviders", pb2.ListProvidersRequest())
            assert [violation.field for violation in error.violations] == ["projectId"]


async def test_no_token_no_answer(config: RunningConfig) -> None:
    """Every method but health and reflection asks for a token."""
    async with calling(config.address) as someone:
        nobody = Caller(stub=someone.stub, metadata=())
        error = await nobody.refused("ListProviders", pb2.ListProvidersRequest(project_id="shop"))
        assert error.reason == "TOKEN_MISSING"
