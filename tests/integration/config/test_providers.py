"""Providers over gRPC and PostgreSQL: made, read, changed, ordered, removed."""

import asyncio

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import MessageToDict
from messagepipe.config.v1 import config_service_pb2 as pb2
from messagepipe.config.v1 import provider_pb2

from services.config.provider import MAX_PROVIDERS
from tests.integration.config.service import EMAIL, NOWHERE, SMS, Caller, a_creation, a_struct


def an_update(provider_id: str, *paths: str, **values: object) -> pb2.UpdateProviderRequest:
    """A request that changes `values`; `paths` are its update mask."""
    config = values.pop("config", None)
    provider = provider_pb2.Provider(id=provider_id, **values)  # type: ignore[arg-type]
    if isinstance(config, dict):
        provider.config.CopyFrom(a_struct(config))
    return pb2.UpdateProviderRequest(provider=provider, update_mask=FieldMask(paths=paths))


async def listed(caller: Caller) -> list[str]:
    """The names of the project's email providers in order."""
    answer = await caller.call("ListProviders", pb2.ListProvidersRequest(project_id="shop", channel=EMAIL))
    return [provider.name for provider in answer.providers]


async def test_created_provider_is_answered_without_secrets(caller: Caller) -> None:
    """A new provider has an id, version 1, defaults and its settings, and none of its secrets."""
    made = await caller.create(config={"apiKey": "canary-1", "port": 587})
    assert (made.version, made.enabled, made.priority) == (1, True, 1)
    assert MessageToDict(made.config) == {"port": 587.0}
    assert await caller.call("GetProvider", pb2.GetProviderRequest(id=made.id)) == made


async def test_project_may_be_left_out(caller: Caller) -> None:
    """A token of exactly one project needs not name it, when creating as when listing."""
    made = await caller.create(project="")
    assert made.project_id == "shop"
    answer = await caller.call("ListProviders", pb2.ListProvidersRequest())
    assert [provider.id for provider in answer.providers] == [made.id]


async def test_what_the_service_decides_is_not_taken_from_the_request(caller: Caller) -> None:
    """An id, a version or a time in the request is ignored (S07)."""
    request = a_creation()
    request.provider.id, request.provider.version = NOWHERE, 9
    request.provider.created_at.FromJsonString("2001-01-01T00:00:00Z")
    made = await caller.call("CreateProvider", request)
    assert (made.id != NOWHERE, made.version, made.created_at.ToDatetime().year > 2001) == (True, 1, True)


async def test_every_violation_is_named_at_once(caller: Caller) -> None:
    """A bad request is told everything that is wrong with it: project, name, priority and each setting."""
    config = {"port": 70000, "apikey": "canary-2", "region": "mars", "auth": {"pass": "canary-3"}}
    request = a_creation(project="sh op", name="a\nb", priority=-1, config=config)
    error = await caller.refused("CreateProvider", request)
    assert error.reason == "INVALID_ARGUMENT"
    assert {violation.field for violation in error.violations} == {
        "projectId",
        "provider.name",
        "provider.priority",
        "provider.config.apiKey",
        "provider.config.apikey",
        "provider.config.auth.user",
        "provider.config.port",
        "provider.config.region",
    }
    assert "canary" not in str(error)


async def test_missing_fields_are_named_by_their_json_names(caller: Caller) -> None:
    """An empty provider is told that kind (as `provider`), name, config and channel are required."""
    request = pb2.CreateProviderRequest(project_id="shop", provider=provider_pb2.Provider())
    error = await caller.refused("CreateProvider", request)
    fields = sorted(violation.field for violation in error.violations)
    assert fields == ["provider.channel", "provider.config", "provider.name", "provider.provider"]


async def test_unknown_kind_is_told_the_known_ones(caller: Caller) -> None:
    """A mistyped kind gets "did you mean" and the list, beside what else is wrong."""
    error = await caller.refused("CreateProvider", a_creation(kind="acmee", priority=2_000_000))
    words = {violation.field: violation.description for violation in error.violations}
    assert 'did you mean "acme"?' in words["provider.provider"]
    assert "known: acme" in words["provider.provider"]
    assert "provider.priority" in words


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
async def test_numbers_that_json_lacks_are_refused(caller: Caller, number: float) -> None:
    """A Struct can carry NaN and infinity; settings can not."""
    error = await caller.refused("CreateProvider", a_creation(config={"apiKey": "k", "port": number}))
    assert [violation.field for violation in error.violations] == ["provider.config.port"]


async def test_config_over_64_kib_is_refused(caller: Caller) -> None:
    """Settings are at most 64 KiB as JSON."""
    error = await caller.refused("CreateProvider", a_creation(config={"apiKey": "k" * 70_000}))
    assert [violation.field for violation in error.violations] == ["provider.config"]


async def test_request_over_the_limit_is_refused(caller: Caller) -> None:
    """A request over the server's limit ends with RESOURCE_EXHAUSTED and does not reach the database."""
    error = await caller.refused("CreateProvider", a_creation(config={"apiKey": "k" * 2_200_000}))
    assert error.code == "RESOURCE_EXHAUSTED"


async def test_channel_that_the_contract_lacks_is_refused(caller: Caller) -> None:
    """An enum number from the future is a violation, not a crash."""
    error = await caller.refused("CreateProvider", a_creation(channel=9))
    assert [violation.field for violation in error.violations] == ["provider.channel"]


async def test_update_changes_only_what_the_mask_names(caller: Caller) -> None:
    """Values outside the mask stay, the version grows by one, and the creation time stays."""
    made = await caller.create(config={"apiKey": "k", "region": "us"})
    request = an_update(made.id, "name", name="Renamed", priority=7, enabled=False)
    changed = await caller.call("UpdateProvider", request)
    assert (changed.name, changed.priority, changed.enabled, changed.version) == ("Renamed", 1, True, 2)
    assert changed.created_at == made.created_at
    assert changed.updated_at.ToDatetime() > made.updated_at.ToDatetime()


async def test_update_without_a_mask_changes_what_is_set(caller: Caller) -> None:
    """An empty mask means the members that are set, false and 0 included."""
    made = await caller.create(priority=5)
    changed = await caller.call("UpdateProvider", an_update(made.id, enabled=False, priority=0))
    assert (changed.name, changed.priority, changed.enabled) == ("Acme", 0, False)


async def test_update_keeps_an_omitted_secret(caller: Caller) -> None:
    """A config without its secret is a merge patch: the stored secret stays and still opens."""
    made = await caller.create(config={"apiKey": "canary-4", "region": "us"})
    await caller.call("UpdateProvider", an_update(made.id, config={"region": "eu"}))
    (link,) = (await caller.resolve()).links
    assert MessageToDict(link.opened_config) == {"apiKey": "canary-4", "region": "eu"}


async def test_update_with_null_removes_a_setting(caller: Caller) -> None:
    """null removes a member, and "" does the same for an optional secret."""
    made = await caller.create(config={"apiKey": "k", "signingKey": "s", "auth": {"user": "u", "pass": "p"}, "port": 1})
    patch = {"port": None, "signingKey": "", "auth": {"pass": ""}}
    await caller.call("UpdateProvider", an_update(made.id, config=patch))
    (link,) = (await caller.resolve()).links
    assert MessageToDict(link.opened_config) == {"apiKey": "k", "auth": {"user": "u"}}


async def test_update_that_removes_a_required_secret_is_refused(caller: Caller) -> None:
    """The resulting config is checked whole, and all its violations come with those of the other members."""
    made = await caller.create()
    request = an_update(made.id, "config", "name", "nickname", name=" ", config={"apiKey": None, "port": 0})
    error = await caller.refused("UpdateProvider", request)
    fields = sorted(violation.field for violation in error.violations)
    assert fields == ["provider.config.apiKey", "provider.config.port", "provider.name", "updateMask"]


async def test_update_that_changes_nothing_succeeds_and_writes_nothing(caller: Caller) -> None:
    """The same values again, the secret included, leave version and chain as they are."""
    made = await caller.create(config={"apiKey": "k", "port": 25})
    before = await caller.resolve()
    same = await caller.call("UpdateProvider", an_update(made.id, name="Acme", config={"apiKey": "k", "port": 25}))
    assert same == made
    assert (await caller.resolve()).version == before.version


async def test_what_was_read_can_be_written_back(caller: Caller) -> None:
    """A body that was read before, with every member in the mask, is accepted: nothing in it is different."""
    made = await caller.create()
    paths = [field.name for field, _ in made.ListFields()] + ["config"]
    request = pb2.UpdateProviderRequest(provider=made, update_mask=FieldMask(paths=paths))
    assert await caller.call("UpdateProvider", request) == made


async def test_kind_and_project_can_not_change(caller: Caller) -> None:
    """Another kind or project is a violation each; another channel makes the provider not found."""
    made = await caller.create()
    error = await caller.refused("UpdateProvider", an_update(made.id, kind="other", project_id="other"))
    assert sorted(each.field for each in error.violations) == ["provider.projectId", "provider.provider"]
    error = await caller.refused("UpdateProvider", an_update(made.id, name="x", channel=SMS))
    assert error.reason == "PROVIDER_NOT_FOUND"


async def test_concurrent_updates_are_all_kept(caller: Caller) -> None:
    """Eight changes at once of one provider come one after the other: every one of them is in the result."""
    made = await caller.create()
    patches = [an_update(made.id, config={"port": 100 + index}) for index in range(4)]
    patches += [an_update(made.id, priority=10 + index) for index in range(4)]
    await asyncio.gather(*(caller.call("UpdateProvider", patch) for patch in patches))
    final = await caller.call("GetProvider", pb2.GetProviderRequest(id=made.id))
    assert final.version == 9


async def test_concurrent_creations_get_priorities_of_their_own(caller: Caller) -> None:
    """Two creations at once both succeed, with different default priorities."""
    made = await asyncio.gather(*(caller.create() for _ in range(6)))
    assert sorted(provider.priority for provider in made) == [1, 2, 3, 4, 5, 6]


async def test_new_provider_comes_last(caller: Caller) -> None:
    """The default priority is one more than the highest, also next to the upper end."""
    await caller.create(name="first", priority=1_000_000)
    second = await caller.create(name="second")
    assert second.priority == 1_000_000
    assert await listed(caller) == ["first", "second"]


async def test_a_project_has_at_most_100_providers_per_channel(caller: Caller) -> None:
    """The hundred-and-first is refused with the limit; another channel still has room."""
    for _ in range(MAX_PROVIDERS):
        await caller.create()
    error = await caller.refused("CreateProvider", a_creation())
    assert (error.reason, error.metadata) == ("TOO_MANY_PROVIDERS", {"limit": "100"})
    assert (await caller.create(channel=SMS)).priority == 1


async def test_pages_hold_every_provider_once(caller: Caller) -> None:
    """Walking by page tokens gives every provider once in the order of trying, EMAIL before SMS."""
    for name, priority in [("c", 5), ("a", 1), ("d", 5), ("b", 2)]:
        await caller.create(name=name, priority=priority)
    await caller.create(name="e", channel=SMS)
    names, token = [], ""
    while True:
        request = pb2.ListProvidersRequest(project_id="shop", page_size=2, page_token=token)
        page = await caller.call("ListProviders", request)
        names.append([provider.name for provider in page.providers])
        token = page.next_page_token
        if not token:
            break
    assert names == [["a", "b"], ["c", "d"], ["e"]]


async def test_page_token_of_another_filter_is_refused(caller: Caller) -> None:
    """A token belongs to its list and filter; garbage and negative sizes are refused by their field."""
    await caller.create()
    await caller.create()
    page = await caller.call("ListProviders", pb2.ListProvidersRequest(page_size=1))
    for request, field in [
        (pb2.ListProvidersRequest(channel=EMAIL, page_token=page.next_page_token), "pageToken"),
        (pb2.ListProvidersRequest(page_token="garbage"), "pageToken"),
        (pb2.ListProvidersRequest(page_size=-1), "pageSize"),
    ]:
        error = await caller.refused("ListProviders", request)
        assert [violation.field for violation in error.violations] == [field]


async def test_reorder_gives_new_priorities(caller: Caller) -> None:
    """The listed providers get priorities 1, 2, 3 in that order, and keep their secrets."""
    made = [await caller.create(name=name, config={"apiKey": f"key-{name}"}) for name in ("a", "b", "c")]
    ids = [made[2].id, made[0].id, made[1].id]
    request = pb2.ReorderProvidersRequest(project_id="shop", channel=EMAIL, provider_ids=ids)
    answer = await caller.call("ReorderProviders", request)
    assert [(provider.name, provider.priority) for provider in answer.providers] == [("c", 1), ("a", 2), ("b", 3)]
    assert await listed(caller) == ["c", "a", "b"]
    keys = [MessageToDict(link.opened_config)["apiKey"] for link in (await caller.resolve()).links]
    assert keys == ["key-c", "key-a", "key-b"]


async def test_reorder_wants_every_provider_exactly_once(caller: Caller) -> None:
    """A list with a stranger, a repetition and a gap is refused with a violation for each."""
    made = [await caller.create(name=name) for name in ("a", "b")]
    ids = [made[0].id, made[0].id, NOWHERE, "not-an-id"]
    request = pb2.ReorderProvidersRequest(project_id="shop", channel=EMAIL, provider_ids=ids)
    error = await caller.refused("ReorderProviders", request)
    assert [violation.field for violation in error.violations] == [
        "providerIds[1]",
        "providerIds[2]",
        "providerIds[3]",
        "providerIds",
    ]


async def test_deleted_provider_is_gone(caller: Caller) -> None:
    """After DeleteProvider the id is unknown, and deleting it again says so."""
    made = await caller.create()
    await caller.call("DeleteProvider", pb2.DeleteProviderRequest(id=made.id))
    for method, request in [
        ("GetProvider", pb2.GetProviderRequest(id=made.id)),
        ("DeleteProvider", pb2.DeleteProviderRequest(id=made.id)),
        ("UpdateProvider", an_update(made.id, name="x")),
    ]:
        assert (await caller.refused(method, request)).reason == "PROVIDER_NOT_FOUND"
    assert (await caller.resolve()).version == 2


async def test_provider_of_another_channel_counts_as_unknown(caller: Caller) -> None:
    """The documented SMS routes do not find an email provider."""
    made = await caller.create()
    error = await caller.refused("GetProvider", pb2.GetProviderRequest(id=made.id, channel=SMS))
    assert error.reason == "PROVIDER_NOT_FOUND"
    error = await caller.refused("DeleteProvider", pb2.DeleteProviderRequest(id=made.id, channel=SMS))
    assert error.reason == "PROVIDER_NOT_FOUND"


async def test_schemas_are_listed_by_channel(caller: Caller) -> None:
    """Every kind has its schema; one kind on two channels must be asked for with its channel."""
    answer = await caller.call("ListProviderSchemas", pb2.ListProviderSchemasRequest(channel=SMS))
    assert [(schema.kind, schema.channel) for schema in answer.schemas] == [("acme", SMS)]
    error = await caller.refused("GetProviderSchema", pb2.GetProviderSchemaRequest(kind="acme"))
    assert [violation.field for violation in error.violations] == ["channel"]
    schema = await caller.call("GetProviderSchema", pb2.GetProviderSchemaRequest(kind="acme", channel=EMAIL))
    assert schema.config_schema["properties"]["apiKey"]["writeOnly"] is True
    error = await caller.refused("GetProviderSchema", pb2.GetProviderSchemaRequest(kind="sengrid"))
    assert (error.reason, error.metadata["known"]) == ("PROVIDER_SCHEMA_NOT_FOUND", "acme")
