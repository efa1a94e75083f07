"""Nothing of templates crosses projects: another project's id answers like one that does not exist, for every id field.

The tables below are checked against the descriptors: a new method or field fails here until somebody has thought of it.
"""

from collections.abc import AsyncIterator, Callable

import grpc
import pytest
from google.protobuf.message import Message
from messagepipe.config.v1 import project_service_pb2
from messagepipe.config.v1 import template_service_pb2 as pb2
from messagepipe.config.v1.project_service_pb2_grpc import ProjectServiceStub

from services.config.app import RunningConfig
from tests.integration.config.service import NOWHERE, Caller, a_token
from tests.integration.config.template_service import a_change, a_stored, a_template, templating
from tests.integration.config.test_projects import _body, _id_fields

Asked = Callable[[str], Message]


def _creation_in(project: str) -> Message:
    request = a_template(project="")
    request.template.project_id = project
    return request


BY_TEMPLATE_ID: dict[tuple[str, str], Asked] = {
    ("GetTemplate", "id"): lambda it: pb2.GetTemplateRequest(id=it),
    ("UpdateTemplate", "template.id"): lambda it: a_change(it, name="stolen"),
    ("DeleteTemplate", "id"): lambda it: pb2.DeleteTemplateRequest(id=it),
    ("GetTemplateVariables", "id"): lambda it: pb2.GetTemplateVariablesRequest(id=it),
    ("PreviewTemplate", "template_id"): lambda it: pb2.PreviewTemplateRequest(template_id=it),
    ("RenderTemplate", "id"): lambda it: pb2.RenderTemplateRequest(id=it),
    ("ResolveTemplate", "template_id"): lambda it: pb2.ResolveTemplateRequest(project_id="other", template_id=it),
}
BY_PROJECT_ID: dict[tuple[str, str], Asked] = {
    ("CreateTemplate", "project_id"): lambda it: a_template(project=it),
    ("CreateTemplate", "template.project_id"): _creation_in,
    ("ListTemplates", "project_id"): lambda it: pb2.ListTemplatesRequest(project_id=it),
    ("PreviewTemplate", "project_id"): lambda it: pb2.PreviewTemplateRequest(project_id=it, html="x"),
    ("ResolveTemplate", "project_id"): lambda it: pb2.ResolveTemplateRequest(project_id=it, template_id=NOWHERE),
}
NOTHING = {
    ("CreateTemplate", "template.id"): "chosen by the service, ignored",
    ("UpdateTemplate", "template.project_id"): "must be the template's own, see test_a_change_can_not_break_a_template",
    ("ListTemplates", "page_token"): "a place in a list of the caller's own project, see the test below",
}


@pytest.fixture
async def caller(config: RunningConfig) -> AsyncIterator[Caller]:
    """A caller of project `shop`, with every scope."""
    async with templating(config.address) as someone:
        yield someone


@pytest.fixture
async def stranger(config: RunningConfig) -> AsyncIterator[Caller]:
    """A caller of another project, with every scope."""
    async with templating(config.address, ["other"]) as someone:
        yield someone


def test_every_id_field_of_every_method_is_covered() -> None:
    """The tables above name each field of the contract that names something of a project, and no other."""
    methods = pb2.DESCRIPTOR.services_by_name["TemplateService"].methods
    there = {(method.name, path) for method in methods for path in _id_fields(method.input_type)}
    assert there == BY_TEMPLATE_ID.keys() | BY_PROJECT_ID.keys() | NOTHING.keys()


@pytest.mark.parametrize("where", BY_TEMPLATE_ID, ids=".".join)
async def test_foreign_template_answers_like_an_unknown_one(
    caller: Caller, stranger: Caller, where: tuple[str, str]
) -> None:
    """Another project's template, an unknown id and a text that is no id answer alike, and nothing is changed."""
    mine = await a_stored(caller)
    ids = [mine.id, NOWHERE, "no-id"]
    errors = [await stranger.refused(where[0], BY_TEMPLATE_ID[where](it)) for it in ids]
    assert errors[0].reason == "TEMPLATE_NOT_FOUND"
    assert len({_body(error, it) for error, it in zip(errors, ids, strict=True)}) == 1
    kept = await caller.call("GetTemplate", pb2.GetTemplateRequest(id=mine.id))
    assert (kept.name, kept.version, kept.updated_at) == (mine.name, 1, mine.updated_at)


@pytest.mark.parametrize("where", BY_PROJECT_ID, ids=".".join)
async def test_foreign_project_answers_like_an_unknown_one(
    caller: Caller, stranger: Caller, where: tuple[str, str]
) -> None:
    """A project with a template in it and one that nobody uses answer alike to a token that names neither."""
    mine = await a_stored(caller)
    errors = [await stranger.refused(where[0], BY_PROJECT_ID[where](project)) for project in ("shop", "nobody")]
    assert errors[0].reason == "PROJECT_NOT_FOUND"
    assert _body(errors[0], "shop") == _body(errors[1], "nobody")
    assert list((await caller.call("ListTemplates", pb2.ListTemplatesRequest())).templates) == [mine]


async def test_page_token_of_another_project_is_refused(caller: Caller, stranger: Caller) -> None:
    """A token does not carry over to another project, and never shows anything of its own."""
    await a_stored(caller)
    await a_stored(caller)
    page = await caller.call("ListTemplates", pb2.ListTemplatesRequest(page_size=1))
    request = pb2.ListTemplatesRequest(page_token=page.next_page_token)
    assert (await stranger.refused("ListTemplates", request)).reason == "INVALID_ARGUMENT"


async def test_projects_do_not_see_each_other(config: RunningConfig, caller: Caller, stranger: Caller) -> None:
    """Each project lists its own; a caller of both is not led from one to the other by a project that it names."""
    mine = await a_stored(caller)
    theirs = await a_stored(stranger, project="other")
    assert list((await stranger.call("ListTemplates", pb2.ListTemplatesRequest())).templates) == [theirs]
    async with templating(config.address, "*") as both:
        for method, request in (
            ("ResolveTemplate", pb2.ResolveTemplateRequest(project_id="other", template_id=mine.id)),
            ("PreviewTemplate", pb2.PreviewTemplateRequest(project_id="other", template_id=mine.id)),
        ):
            assert (await both.refused(method, request)).reason == "TEMPLATE_NOT_FOUND"


@pytest.fixture
async def projects(config: RunningConfig) -> AsyncIterator[Caller]:
    """A caller of ProjectService with every scope in every project."""
    async with grpc.aio.insecure_channel(config.address) as channel:
        yield Caller(stub=ProjectServiceStub(channel), metadata=(("authorization", f"Bearer {a_token('*')}"),))


async def test_a_deleted_project_takes_its_templates_along(caller: Caller, stranger: Caller, projects: Caller) -> None:
    """They are gone with all their versions; another project keeps its own."""
    mine, theirs = await a_stored(caller), await a_stored(stranger, project="other")
    await caller.call("UpdateTemplate", a_change(mine.id, html="new"))
    await projects.call("CreateProject", project_service_pb2.CreateProjectRequest(id="shop", name="Shop"))
    await projects.call("DeleteProject", project_service_pb2.DeleteProjectRequest(id="shop", confirm="Shop"))

    for version in (0, 1):
        error = await caller.refused("GetTemplate", pb2.GetTemplateRequest(id=mine.id, version=version))
        assert error.reason == "TEMPLATE_NOT_FOUND"
    assert list((await stranger.call("ListTemplates", pb2.ListTemplatesRequest())).templates) == [theirs]


async def test_an_api_key_previews_and_updates_alone(caller: Caller, stranger: Caller, projects: Caller) -> None:
    """In its project, and nothing else: no other method, no template of another project."""
    mine, theirs = await a_stored(caller), await a_stored(stranger, project="other")
    request = project_service_pb2.CreateApiKeyRequest(project_id="shop", name="Mine")
    key = (await projects.call("CreateApiKey", request)).key
    holder = Caller(stub=caller.stub, metadata=(("x-api-key", key),))

    answer = await holder.call("PreviewTemplate", pb2.PreviewTemplateRequest(template_id=mine.id))
    assert answer.preview == "<p></p>"
    assert (await holder.call("UpdateTemplate", a_change(mine.id, html="new"))).version == 2
    for method in ("PreviewTemplate", "UpdateTemplate"):
        asked = BY_TEMPLATE_ID[(method, "template_id" if method == "PreviewTemplate" else "template.id")]
        assert (await holder.refused(method, asked(theirs.id))).reason == "TEMPLATE_NOT_FOUND"
    for method, request_ in (
        ("GetTemplate", pb2.GetTemplateRequest(id=mine.id)),
        ("CreateTemplate", a_template()),
        ("DeleteTemplate", pb2.DeleteTemplateRequest(id=mine.id)),
        ("ResolveTemplate", pb2.ResolveTemplateRequest(project_id="shop", template_id=mine.id)),
    ):
        assert (await holder.refused(method, request_)).reason == "SCOPE_MISSING"
