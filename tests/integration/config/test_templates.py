"""Templates and their versions over gRPC and PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from messagepipe.config.v1 import template_pb2
from messagepipe.config.v1 import template_service_pb2 as pb2

from services.config import template_editor
from services.config.app import RunningConfig
from tests.integration.config.service import NOWHERE, Caller, a_struct
from tests.integration.config.template_service import EMAIL, MESSAGE, SMS, a_change, a_stored, a_template, templating


@pytest.fixture
async def caller(config: RunningConfig) -> AsyncIterator[Caller]:
    """A caller whose token names project `shop` and holds every scope."""
    async with templating(config.address) as someone:
        yield someone


async def _get(caller: Caller, template_id: str, **said: Any) -> template_pb2.Template:
    found: template_pb2.Template = await caller.call("GetTemplate", pb2.GetTemplateRequest(id=template_id, **said))
    return found


def _fields(error: Any) -> list[str]:
    return [each.field for each in error.violations]


async def test_a_template_is_stored_and_read(caller: Caller) -> None:
    """A new template is its version 1; its answer leaves the content out, GetTemplate has it."""
    made = await a_stored(caller, text="Hi {{order.id}}")

    assert (made.project_id, made.type, made.name, made.version) == ("shop", EMAIL, "Greeting", 1)
    assert list(made.variables) == ["name", "order.id"]
    assert made.created_at == made.updated_at
    assert not any(made.HasField(name) for name in ("subject", "html", "text", "body"))
    found = await _get(caller, made.id)
    assert (found.subject, found.html, found.text) == ("Hi {{name}}", "<p>{{name}}</p>", "Hi {{order.id}}")
    found.ClearField("subject")
    found.ClearField("html")
    found.ClearField("text")
    assert found == made


async def test_a_change_of_content_makes_a_version(caller: Caller) -> None:
    """What is not named stays, an empty part goes, and every earlier version can still be read."""
    made = await a_stored(caller, text="Hello")
    changed = await caller.call("UpdateTemplate", a_change(made.id, html="<b>{{x}}</b>", text=""))

    assert (changed.version, list(changed.variables)) == (2, ["name", "x"])
    assert changed.updated_at.ToNanoseconds() > made.updated_at.ToNanoseconds()
    now, before = await _get(caller, made.id), await _get(caller, made.id, version=1)
    assert (now.version, now.subject, now.html, now.HasField("text")) == (2, "Hi {{name}}", "<b>{{x}}</b>", False)
    assert (before.version, before.html, before.text) == (1, "<p>{{name}}</p>", "Hello")
    for version in (3, 99):
        error = await caller.refused("GetTemplate", pb2.GetTemplateRequest(id=made.id, version=version))
        assert error.reason == "TEMPLATE_NOT_FOUND"


async def test_a_new_name_is_no_version(caller: Caller) -> None:
    """A template can be renamed without new content; what changes nothing writes nothing."""
    made = await a_stored(caller)
    renamed = await caller.call("UpdateTemplate", a_change(made.id, name="Welcome"))

    assert (renamed.name, renamed.version) == ("Welcome", 1)
    again = await caller.call("UpdateTemplate", a_change(made.id, name="Welcome", html="<p>{{name}}</p>"))
    assert again == renamed


async def test_the_mask_decides_what_changes(caller: Caller) -> None:
    """With a mask only what it names is changed, also to nothing."""
    made = await a_stored(caller, text="Hello")
    await caller.call("UpdateTemplate", a_change(made.id, "text", "subject", html="ignored", subject="New"))

    now = await _get(caller, made.id)
    assert (now.subject, now.html, now.HasField("text")) == ("New", "<p>{{name}}</p>", False)
    error = await caller.refused("UpdateTemplate", a_change(made.id, "nonsense"))
    assert _fields(error) == ["updateMask"]


async def test_concurrent_changes_take_turns(caller: Caller) -> None:
    """Ten changes at once are ten versions, and none is lost."""
    made = await a_stored(caller)
    changes = [a_change(made.id, html=f"<p>{number}</p>") for number in range(10)]
    answers = await asyncio.gather(*(caller.call("UpdateTemplate", each) for each in changes))

    assert sorted(each.version for each in answers) == list(range(2, 12))
    seen = {(await _get(caller, made.id, version=version)).html for version in range(2, 12)}
    assert seen == {f"<p>{number}</p>" for number in range(10)}


async def test_a_deleted_template_is_gone_with_its_versions(caller: Caller) -> None:
    """Nothing answers for it any more, whatever version is asked for."""
    made = await a_stored(caller)
    await caller.call("DeleteTemplate", pb2.DeleteTemplateRequest(id=made.id))

    for request in (pb2.GetTemplateRequest(id=made.id), pb2.GetTemplateRequest(id=made.id, version=1)):
        assert (await caller.refused("GetTemplate", request)).reason == "TEMPLATE_NOT_FOUND"
    error = await caller.refused("DeleteTemplate", pb2.DeleteTemplateRequest(id=made.id))
    assert (error.message, error.metadata) == ("Template not found", {"id": made.id})


async def test_templates_are_listed_by_type_in_pages(caller: Caller) -> None:
    """Pages hold every template of the type once, the oldest first, without content."""
    made = [await a_stored(caller, name=f"T{number}") for number in range(5)]
    other = await a_stored(caller, type_=SMS)
    names, token = list[str](), ""
    while True:
        page = await caller.call("ListTemplates", pb2.ListTemplatesRequest(type=EMAIL, page_size=2, page_token=token))
        assert not any(each.HasField("html") for each in page.templates)
        names += [each.name for each in page.templates]
        token = page.next_page_token
        if not token:
            break

    assert names == [each.name for each in made]
    everything = await caller.call("ListTemplates", pb2.ListTemplatesRequest(project_id="shop"))
    assert list(everything.templates) == [*made, other]


async def test_all_mistakes_are_told_at_once(caller: Caller) -> None:
    """A template with mistakes in name and parts is refused with each of them, by line and column, and not stored."""
    error = await caller.refused("CreateTemplate", a_template(name="x" * 101, body="y", subject=None, html=None))
    assert _fields(error) == ["template.name", "template.body", "template.html"]
    error = await caller.refused("CreateTemplate", a_template(subject="{{#if}}", html="a\n{{b", text="{{/x}}"))
    assert [(each.field, each.description.partition(":")[0]) for each in error.violations] == [
        ("template.subject", "line 1, column 1"),
        ("template.subject", "line 1, column 4"),
        ("template.html", "line 2, column 3"),
        ("template.text", "line 1, column 1"),
    ]
    assert not (await caller.call("ListTemplates", pb2.ListTemplatesRequest())).templates


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (a_template(html="x" * (1024 * 1024)), ["template.html"]),
        (a_template(html="a\0b"), ["template.html"]),
        (a_template(subject="a\nb"), ["template.subject"]),
        (a_template(type_=SMS, body=None), ["template.body"]),
        (a_template(type_=MESSAGE, html="x"), ["template.html"]),
        (a_template(type_=SMS, body="{{a"), ["template.body"]),
        (a_template(type_=0, body=None), ["template.type"]),
        (a_template(name=""), ["template.name"]),
        (pb2.CreateTemplateRequest(project_id="shop"), ["template"]),
    ],
)
async def test_what_can_not_be_a_template(caller: Caller, request_: Any, fields: list[str]) -> None:
    """Content of the wrong kind, size or characters is refused by its field."""
    error = await caller.refused("CreateTemplate", request_)
    assert (error.reason, _fields(error)) == ("INVALID_ARGUMENT", fields)


async def test_a_change_can_not_break_a_template(caller: Caller) -> None:
    """The result of a change has to parse and to be whole; type and project stay; the template is as it was."""
    made = await a_stored(caller)
    changes = (
        (a_change(made.id, html="{{#if}}"), "template.html"),
        (a_change(made.id, "html"), "template.html"),
        (a_change(made.id, "name"), "template.name"),
        (a_change(made.id, body="x"), "template.body"),
        (a_change(made.id, project_id="other"), "template.projectId"),
    )
    for request, field in changes:
        assert field in _fields(await caller.refused("UpdateTemplate", request))
    error = await caller.refused("UpdateTemplate", a_change(made.id, type=SMS))
    assert error.reason == "TEMPLATE_NOT_FOUND"
    assert (await _get(caller, made.id)).version == 1


async def test_a_write_with_a_key_happens_once(caller: Caller) -> None:
    """The same request with its key again is answered alike and does nothing; another request is refused."""
    request = a_template()
    request.idempotency_key = "k1"
    made = await caller.call("CreateTemplate", request)
    assert await caller.call("CreateTemplate", request) == made
    assert len((await caller.call("ListTemplates", pb2.ListTemplatesRequest())).templates) == 1

    change = a_change(made.id, html="new", idempotency_key="k2")
    changed = await caller.call("UpdateTemplate", change)
    assert changed.version == 2
    assert await caller.call("UpdateTemplate", change) == changed
    change.template.html = "newer"
    assert (await caller.refused("UpdateTemplate", change)).reason == "IDEMPOTENCY_KEY_REUSED"

    deletion = pb2.DeleteTemplateRequest(id=made.id, idempotency_key="k3")
    await caller.call("DeleteTemplate", deletion)
    await caller.call("DeleteTemplate", deletion)


async def test_a_project_has_a_limit_of_templates(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit of a type nothing is added, also by callers at the same time; another type has its own."""
    monkeypatch.setattr(template_editor, "MAX_TEMPLATES", 3)
    answers = await asyncio.gather(*(a_stored(caller) for _ in range(6)), return_exceptions=True)

    assert sum(isinstance(each, template_pb2.Template) for each in answers) == 3
    assert (await caller.refused("CreateTemplate", a_template())).reason == "TOO_MANY_TEMPLATES"
    await a_stored(caller, type_=SMS)


async def test_the_variables_of_a_template_are_listed(caller: Caller) -> None:
    """What a caller has to give is answered in the order of the parts."""
    made = await a_stored(caller, html="{{#each items}}{{price}}{{/each}}{{name}}")
    answer = await caller.call("GetTemplateVariables", pb2.GetTemplateVariablesRequest(id=made.id))
    assert list(answer.variables) == ["name", "items[].price"]


def a_preview(**said: Any) -> pb2.PreviewTemplateRequest:
    """A request for a preview with these values."""
    values = said.pop("variables", {})
    return pb2.PreviewTemplateRequest(variables=a_struct(values), **said)


async def test_a_stored_template_is_previewed(caller: Caller) -> None:
    """HTML is escaped, the subject is not; what is missing is empty and named, or refused when strict."""
    made = await a_stored(caller, text="{{name}} {{order.id}}")
    answer = await caller.call("PreviewTemplate", a_preview(template_id=made.id, variables={"name": "<A&B>"}))

    assert (answer.subject, answer.preview, answer.text) == ("Hi <A&B>", "<p>&lt;A&amp;B&gt;</p>", "<A&B> ")
    assert list(answer.missing) == ["order.id"]
    error = await caller.refused("PreviewTemplate", a_preview(template_id=made.id, strict=True))
    assert _fields(error) == ["variables.name", "variables.order.id"]


async def test_an_edit_is_previewed_before_it_is_stored(caller: Caller) -> None:
    """Parts that are given stand in for the stored ones; without a stored one they are the template."""
    made = await a_stored(caller)
    answer = await caller.call("PreviewTemplate", a_preview(template_id=made.id, html="{{n}}", variables={"n": 1}))
    assert (answer.preview, answer.subject) == ("1", "Hi ")
    answer = await caller.call("PreviewTemplate", a_preview(body="{{n}}<", variables={"n": 2.5}))
    assert (answer.rendered_message, answer.HasField("preview")) == ("2.5<", False)
    answer = await caller.call("PreviewTemplate", a_preview(text="plain"))
    assert (answer.preview, answer.text) == ("plain", "plain")


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (a_preview(), ["templateId"]),
        (a_preview(html="{{#if}}"), ["html", "html"]),
        (a_preview(html="{{formatDate x 'YYYY'}}", variables={"x": "soon"}), ["html"]),
        (a_preview(html="{{#each x}}{{#each ../x}}{{/each}}{{/each}}", variables={"x": [0] * 200}), ["html"]),
        (pb2.PreviewTemplateRequest(html="x", variables=Struct(fields={"n": a_struct({"v": 1}).fields["v"]})), []),
    ],
)
async def test_what_can_not_be_previewed(caller: Caller, request_: Any, fields: list[str]) -> None:
    """Nothing to preview, content that does not parse, and values of no use are refused by their field."""
    if not fields:
        await caller.call("PreviewTemplate", request_)
        return
    error = await caller.refused("PreviewTemplate", request_)
    assert (error.reason, _fields(error)) == ("INVALID_ARGUMENT", fields)


async def test_a_template_is_rendered_with_values_of_a_url(caller: Caller) -> None:
    """Names with dots are paths; what is a text and an object at once is refused."""
    made = await a_stored(caller, html="{{name}} {{user.first}} {{user.last}}")
    values = {"name": "<", "user.first": "A", "user.last": "B"}
    answer = await caller.call("RenderTemplate", pb2.RenderTemplateRequest(id=made.id, variables=values))
    assert (answer.html, answer.subject, answer.HasField("text")) == ("&lt; A B", "Hi <", False)
    values = {"a": "1", "a.b": "2"}
    error = await caller.refused("RenderTemplate", pb2.RenderTemplateRequest(id=made.id, variables=values))
    assert _fields(error) == ["a.b"]


async def test_a_dispatcher_resolves_a_template(config: RunningConfig, caller: Caller) -> None:
    """The current content, or one version of it, for who has the scope `internal` alone."""
    made = await a_stored(caller)
    await caller.call("UpdateTemplate", a_change(made.id, html="new"))
    asked = pb2.ResolveTemplateRequest(project_id="shop", template_id=made.id)
    now = await caller.call("ResolveTemplate", asked)
    assert (now.version, now.html, now.subject) == (2, "new", "Hi {{name}}")
    asked.version = 1
    assert (await caller.call("ResolveTemplate", asked)).html == "<p>{{name}}</p>"
    async with templating(config.address, scopes=("config:read", "messages:send")) as nobody:
        assert (await nobody.refused("ResolveTemplate", asked)).reason == "SCOPE_MISSING"


async def test_a_template_is_found_by_its_own_type_alone(caller: Caller) -> None:
    """An id of another type answers like one that does not exist."""
    made = await a_stored(caller, type_=SMS)
    assert (await _get(caller, made.id, type=SMS)).body == "Hi {{name}}"
    for asked in (made.id, NOWHERE, "no-id"):
        error = await caller.refused("GetTemplate", pb2.GetTemplateRequest(id=asked, type=EMAIL))
        assert (error.reason, error.metadata) == ("TEMPLATE_NOT_FOUND", {"id": asked})
