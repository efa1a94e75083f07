"""The routes of templates (rest-api §4), one case each. No test."""

from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask
from messagepipe.config.v1 import template_pb2
from messagepipe.config.v1 import template_service_pb2 as pb

from tests.integration.gateway.cases import TIME, TIME_JSON, Case

_TYPES = {
    "templates": (template_pb2.Template.TYPE_EMAIL, "EMAIL"),
    "message-templates": (template_pb2.Template.TYPE_MESSAGE, "MESSAGE"),
    "sms-templates": (template_pb2.Template.TYPE_SMS, "SMS"),
}
_CONTENT: dict[str, dict[str, Any]] = {"EMAIL": {"subject": "Hi {{name}}", "html": "<p>Ü</p>", "text": "Ü"}}
_BODY: dict[str, Any] = {"body": "Hi {{name}}"}


def _stored(type_: Any, word: str, **content: Any) -> tuple[template_pb2.Template, dict[str, Any]]:
    """A template as the service answers it, and as a REST client sees it."""
    made = template_pb2.Template(
        id="t-1",
        project_id="demo",
        type=type_,
        name="Greeting",
        variables=["name"],
        version=3,
        created_at=TIME,
        updated_at=TIME,
        **content,
    )
    seen = {"id": "t-1", "projectId": "demo", "type": word, "name": "Greeting", "variables": ["name"], "version": "3"}
    return made, {**seen, **content, "createdAt": TIME_JSON, "updatedAt": TIME_JSON}


def _of_one_type(path: str) -> dict[str, Case]:  # size: a table, read as one
    """The documented routes of one type."""
    type_, word = _TYPES[path]
    content = _CONTENT.get(word, _BODY)
    stored, seen = _stored(type_, word)
    whole, whole_seen = _stored(type_, word, **content)
    wanted = template_pb2.Template(type=type_, name="Greeting", **content)
    changed = template_pb2.Template(id="t-1", type=type_, name="New", **content)
    variables = "/templates/variables" if word == "EMAIL" else f"/{path}"
    preview = pb.PreviewTemplateRequest(type=type_, template_id="t-1", project_id="demo")
    preview.variables.update({"name": "Ada"})
    shown = (
        pb.PreviewTemplateResponse(preview="<p>Ada</p>", subject="Hi Ada")
        if word == "EMAIL"
        else pb.PreviewTemplateResponse(rendered_message="Hi Ada", missing=["x"])
    )
    shown_seen = (
        {"preview": "<p>Ada</p>", "subject": "Hi Ada", "missing": []}
        if word == "EMAIL"
        else {"renderedMessage": "Hi Ada", "missing": ["x"]}
    )
    listed = pb.ListTemplatesResponse(templates=[stored], next_page_token="next")
    return {
        f"POST /{path}": Case(
            url=f"/{path}",
            body={"projectId": "demo", "name": "Greeting", **content},
            rpc="CreateTemplate",
            request=pb.CreateTemplateRequest(template=_with(wanted, project_id="demo")),
            answer=stored,
            json=seen,
            status=201,
        ),
        f"GET /{path}": Case(
            url=f"/{path}?projectId=demo&pageSize=5",
            rpc="ListTemplates",
            request=pb.ListTemplatesRequest(project_id="demo", type=type_, page_size=5),
            answer=listed,
            json=[seen],
        ),
        f"GET /{path}/project/{{project_id}}": Case(
            url=f"/{path}/project/demo",
            rpc="ListTemplates",
            request=pb.ListTemplatesRequest(project_id="demo", type=type_),
            answer=listed,
            json=[seen],
        ),
        f"GET /{path}/{{id}}": Case(
            url=f"/{path}/t-1?version=3",
            rpc="GetTemplate",
            request=pb.GetTemplateRequest(id="t-1", type=type_, version=3),
            answer=whole,
            json=whole_seen,
        ),
        f"PUT /{path}/{{template.id}}": Case(
            url=f"/{path}/t-1",
            body={"name": "New", **content},
            rpc="UpdateTemplate",
            request=pb.UpdateTemplateRequest(template=changed, update_mask=FieldMask(paths=["name", *content])),
            answer=stored,
            json=seen,
        ),
        f"DELETE /{path}/{{id}}": Case(
            url=f"/{path}/t-1",
            rpc="DeleteTemplate",
            request=pb.DeleteTemplateRequest(id="t-1", type=type_),
            answer=Empty(),
            status=204,
        ),
        f"GET {variables}/{{id}}{'' if word == 'EMAIL' else '/variables'}": Case(
            url=f"{variables}/t-1" + ("" if word == "EMAIL" else "/variables"),
            rpc="GetTemplateVariables",
            request=pb.GetTemplateVariablesRequest(id="t-1", type=type_),
            answer=pb.GetTemplateVariablesResponse(variables=["name", "items[].price"]),
            json={"variables": ["name", "items[].price"]},
        ),
        f"POST /{path}/preview": Case(
            url=f"/{path}/preview",
            body={"templateId": "t-1", "projectId": "demo", "variables": {"name": "Ada"}},
            rpc="PreviewTemplate",
            request=preview,
            answer=shown,
            json=shown_seen,
        ),
    }


def _with(template: template_pb2.Template, **values: Any) -> template_pb2.Template:
    made = template_pb2.Template()
    made.CopyFrom(template)
    made.MergeFrom(template_pb2.Template(**values))
    return made


def _canonical() -> dict[str, Case]:  # size: a table, read as one
    type_, word = _TYPES["sms-templates"]
    stored, seen = _stored(type_, word)
    wanted = template_pb2.Template(type=type_, name="Greeting", body="x")
    changed = template_pb2.Template(id="t-1", name="New")
    found = {
        "POST /v1/templates": Case(
            url="/v1/templates?projectId=demo",
            body={"type": "SMS", "name": "Greeting", "body": "x"},
            rpc="CreateTemplate",
            request=pb.CreateTemplateRequest(project_id="demo", template=wanted),
            answer=stored,
            json=seen,
            status=201,
        ),
        "GET /v1/templates": Case(
            url="/v1/templates?type=SMS",
            rpc="ListTemplates",
            request=pb.ListTemplatesRequest(type=type_),
            answer=pb.ListTemplatesResponse(templates=[stored], next_page_token="next"),
            json={"templates": [seen], "nextPageToken": "next"},
        ),
        "GET /v1/templates/{id}": Case(
            url="/v1/templates/t-1",
            rpc="GetTemplate",
            request=pb.GetTemplateRequest(id="t-1"),
            answer=stored,
            json=seen,
        ),
        "DELETE /v1/templates/{id}": Case(
            url="/v1/templates/t-1",
            rpc="DeleteTemplate",
            request=pb.DeleteTemplateRequest(id="t-1"),
            answer=Empty(),
            status=204,
        ),
        "GET /v1/templates/{id}/variables": Case(
            url="/v1/templates/t-1/variables",
            rpc="GetTemplateVariables",
            request=pb.GetTemplateVariablesRequest(id="t-1"),
            answer=pb.GetTemplateVariablesResponse(),
            json={"variables": []},
        ),
        "POST /v1/templates:preview": Case(
            url="/v1/templates:preview",
            body={"html": "x", "strict": True},
            rpc="PreviewTemplate",
            request=pb.PreviewTemplateRequest(html="x", strict=True),
            answer=pb.PreviewTemplateResponse(preview="x"),
            json={"preview": "x", "missing": []},
        ),
        "POST /v1/templates/{id}:render": Case(
            url="/v1/templates/t-1:render",
            body={"variables": {"name": "Ada"}},
            rpc="RenderTemplate",
            request=pb.RenderTemplateRequest(id="t-1", variables={"name": "Ada"}),
            answer=pb.RenderTemplateResponse(body="Hi Ada"),
            json={"body": "Hi Ada"},
        ),
        "GET /templates/render/{id}": Case(
            url="/templates/render/t-1?name=Ada&user.city=Rome&id=7&type=x",
            rpc="RenderTemplate",
            request=pb.RenderTemplateRequest(
                id="t-1",
                type=template_pb2.Template.TYPE_EMAIL,
                variables={"name": "Ada", "user.city": "Rome", "id": "7", "type": "x"},
            ),
            answer=pb.RenderTemplateResponse(html="<p>Ada</p>", subject="Hi"),
            json={"html": "<p>Ada</p>", "subject": "Hi"},
        ),
    }
    for method in ("PATCH", "PUT"):
        found[f"{method} /v1/templates/{{template.id}}"] = Case(
            url="/v1/templates/t-1",
            body={"name": "New"},
            rpc="UpdateTemplate",
            request=pb.UpdateTemplateRequest(template=changed, update_mask=FieldMask(paths=["name"])),
            answer=stored,
            json=seen,
        )
    return found


TEMPLATES: dict[str, Case] = {
    **{name: case for path in _TYPES for name, case in _of_one_type(path).items()},
    **_canonical(),
}
