"""The OpenAPI 3.1 document, from the same descriptors and codecs that serve the requests: it can not drift. Pure."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor import FieldDescriptor

from gateway.codec.slots import QueryMap
from gateway.descriptors import message_of
from gateway.idempotency import HEADER, rule_of
from gateway.openapi.examples import EXAMPLES
from gateway.openapi.schemas import Schema, Schemas, comments
from gateway.receipts import PATH as RECEIPTS_PATH
from gateway.routes import WHOLE, Route, field_at
from gateway.transcode import Transcoder, behaviors
from services.chassis.api_keys import HEADER as API_KEY
from services.chassis.scopes import takes_api_key

ABOUT = (
    "Email and SMS through your own provider accounts, in priority order, with failover you can watch. "
    "JSON is ProtoJSON with bare enum words; 64-bit integers are strings in answers, strings or numbers in requests. "
    "Unknown members, wrong types and unknown query parameters answer 400 with every violation at once."
)

TAGS: Mapping[str, str] = {
    "Email configuration": "The project's email providers and sender.",
    "SMS configuration": "The project's SMS providers and sender.",
    "Projects": "Projects and their API keys.",
    "Sending": "Hand over a message and wait for its outcome.",
    "Messages": "Messages, their attempts and their events, by the canonical routes.",
    "Templates": "What messages say, with places for values; docs/templates.md has the language.",
    "Configuration": "Providers and senders of any channel, by the canonical routes.",
    "Receipts": "What providers call to tell what became of a message.",
    "Operations": "Health and documentation; no token needed.",
}

_TAG_OF = {
    "email-config": "Email configuration",
    "sms-config": "SMS configuration",
    "projects": "Projects",
    "email": "Sending",
    "sms": "Sending",
    "templates": "Templates",
    "message-templates": "Templates",
    "sms-templates": "Templates",
}

_FAILURES: Mapping[str, str] = {
    "400": "The request is wrong; `details.violations` lists everything.",
    "401": "There is no valid token, and no API key that works (`KEY_INVALID`); or there are both.",
    "403": "The token lacks the scope of the route, or the route takes no API key.",
    "404": "There is no such thing in any project of the token.",
    "409": "It is there already, or somebody else changed it meanwhile; nothing was done.",
    "413": "The body is over the limit of the route.",
    "415": "The body is not application/json.",
    "422": "The idempotency key was used for another content (`IDEMPOTENCY_KEY_REUSED`); nothing was done.",
    "429": "More work waits than the service takes on; `Retry-After` says when to come back.",
    "500": "Our fault, or every provider failed (`ALL_PROVIDERS_FAILED`).",
    "503": "A service can not be reached right now; `Retry-After` says when to come back.",
    "504": "The time is over (`Request-Timeout`); a message that was accepted goes on: `details.metadata.messageId`.",
}
_BODY_ONLY = frozenset({"413", "415"})

_PAGES: Mapping[str, tuple[str, str]] = {
    "/healthz": ("Says that the process is alive", "application/json"),
    "/readyz": (
        "Says whether both services behind the gateway are serving; 503 names the one that is not",
        "application/json",
    ),
    "/openapi.json": ("This document", "application/json"),
    "/docs": ("This document for people", "text/html"),
}


def openapi_document(codecs: Iterable[Transcoder]) -> dict[str, Any]:
    """The whole document, ready to be written as JSON."""
    schemas = Schemas()
    paths: dict[str, dict[str, Any]] = {}
    for codec in codecs:
        route = codec.route
        paths.setdefault(path_of(route), {})[route.method.lower()] = _operation(codec, schemas)
    for path, (summary, media) in _PAGES.items():
        paths[path] = {"get": _page_operation(path, summary, media)}
    paths[RECEIPTS_PATH] = {"post": _RECEIPTS}
    return {
        "openapi": "3.1.0",
        "info": {"title": "messagepipe", "version": "1", "description": ABOUT, "license": _LICENSE},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": _SCHEMES,
            "responses": {status: _failure(text) for status, text in _FAILURES.items()},
            "schemas": dict(sorted(schemas.components.items())),
        },
    }


_SCHEMES: Mapping[str, Any] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "`messagepipe token --project P`",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": API_KEY,
        "description": "A key of POST /projects/{projectId}/api-keys, on the routes that name it. It stands for its"
        " project: no `projectId` is needed. With a token beside it the request is refused.",
    },
}
_RECEIPTS: Mapping[str, Any] = {
    "operationId": "ReceiveReceipt",
    "tags": ["Receipts"],
    "summary": "Takes what a provider tells about messages it accepted",
    "description": "The provider's own format and signature, at most 1 MiB; set this URL up at the provider. No token: "
    "the signature is the proof. A wrong one and an unknown provider answer the same 401.",
    "security": [],
    "parameters": [
        {"in": "path", "name": name, "required": True, "schema": {"type": "string"}, "description": text}
        for name, text in (("kind", "The provider's kind, such as `sendgrid`."), ("providerConfigId", "Its id."))
    ],
    "requestBody": {"required": True, "content": {"*/*": {}}},
    "responses": {
        "200": {"description": "Kept."},
        **{status: {"$ref": f"#/components/responses/{status}"} for status in ("401", "413", "503")},
    },
}
_LICENSE = {"name": "Apache-2.0", "identifier": "Apache-2.0"}


def path_of(route: Route) -> str:
    """The template as OpenAPI writes it: a variable has no pattern and goes by the JSON name of its field."""
    segments = list(route.template.segments)
    for variable in route.template.variables:
        field = field_at(route.rpc.input_type, variable.path)
        segments[variable.start] = f"{{{field.json_name if field is not None else variable.path[-1]}}}"
    return "/" + "/".join(segments) + (f":{route.template.verb}" if route.template.verb else "")


def _operation(codec: Transcoder, schemas: Schemas) -> dict[str, Any]:
    route = codec.route
    text = comments().get(route.rpc.full_name, "")
    summary, _, _ = text.partition(". ")
    operation: dict[str, Any] = {
        "operationId": route.rpc.name if _is_first(route) else _operation_id(route),
        "tags": [_tag(route)],
        "summary": summary.rstrip("."),
        "description": f"{text}\n\nRPC: `{route.rpc.full_name}`",
        "parameters": [*_path_parameters(codec, schemas), *_query_parameters(codec, schemas), *_headers(route)],
        "responses": {**_success(codec, schemas), **_failures(codec)},
    }
    if takes_api_key(route.rpc):
        operation["security"] = [{"bearer": []}, {"apiKey": []}]
    if codec.takes_body:
        operation["requestBody"] = _body(codec, schemas)
    return operation


def _is_first(route: Route) -> bool:
    return route.canonical and route.method != "PUT"


def _operation_id(route: Route) -> str:
    words = [word for word in route.template.segments if word != "*"]
    return "-".join([route.rpc.name, route.method.lower(), *words])


def _tag(route: Route) -> str:
    first = route.template.segments[0]
    if first in _TAG_OF:
        return _TAG_OF[first]
    return "Configuration" if ".config." in route.rpc.full_name else "Messages"


def _path_parameters(codec: Transcoder, schemas: Schemas) -> list[Schema]:
    return [
        _parameter("path", slot.field.json_name, slot.field, schemas, required=True)
        for slot in codec.variables.values()
    ]


def _query_parameters(codec: Transcoder, schemas: Schemas) -> list[Schema]:
    fixed = {slot.path for slot, _ in codec.constants}
    if isinstance(codec.query, QueryMap):
        # Every name is taken; `explode` makes of each member of the object a parameter of its own.
        every = _parameter("query", codec.query.field.json_name, codec.query.field, schemas, required=False)
        return [{**every, "style": "form", "explode": True}]
    found = [
        _parameter(
            "query", slot.name, slot.field, schemas, required=field_behavior_pb2.REQUIRED in behaviors(slot.field)
        )
        for slot in codec.query.slots
        if slot.path not in fixed
    ]
    return [*found, *_beside_texts(codec, schemas, {each["name"] for each in found})]


def _beside_texts(codec: Transcoder, schemas: Schemas, known: set[str]) -> list[Schema]:
    """What a JSON body says in its members; beside a body that is a text, the query says it."""
    beside = {slot.name: slot for query in codec.text_queries.values() for slot in query.slots}
    found = [
        _parameter("query", name, slot.field, schemas, required=False)
        for name, slot in sorted(beside.items())
        if name not in known
    ]
    types = " or ".join(codec.texts)
    for each in found:
        each["description"] = f"Beside a body of type {types}: {each.get('description', '')}".strip()
    return found


def _parameter(where: str, name: str, field: FieldDescriptor, schemas: Schemas, *, required: bool) -> Schema:
    schema = schemas.of_field(field)
    described = {"description": schema.pop("description")} if "description" in schema else {}
    return {"in": where, "name": name, "required": required, **described, "schema": schema}


def _headers(route: Route) -> list[Schema]:
    found = [("Request-Timeout", {"type": "number", "maximum": 300}, "Seconds after which to give up waiting.")]
    if route.rpc.name == "SendMessage":
        told = "`respond-async`: do not wait for the outcome, 202 at once. Other preferences change nothing (RFC 7240)."
        found.append(("Prefer", {"type": "string", "examples": ["respond-async"]}, told))
    if takes_key(route):
        told = "The request's name of your own: the same again is the same answer, with `Idempotency-Replayed: true`."
        found.append((HEADER, {"type": "string", "minLength": 1, "maxLength": 255}, told))
    if route.rpc.server_streaming and route.method == "GET":
        found.append(("Last-Event-ID", {"type": "string"}, "Go on after this event; wins over the query parameter."))
    return [
        {"in": "header", "name": name, "required": False, "description": text, "schema": schema}
        for name, schema, text in found
    ]


def takes_key(route: Route) -> bool:
    """Whether the route takes an idempotency key."""
    return rule_of(route.rpc).path is not None


def _body(codec: Transcoder, schemas: Schemas) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": _body_schema(codec, schemas)}
    example = EXAMPLES.get(codec.route.name)
    if example is not None and example.request is not None:
        content["example"] = example.request
    texts = {media: {"schema": {"type": "string"}} for media in codec.texts}
    return {"required": codec.needs_body, "content": {"application/json": content, **texts}}


def _body_schema(codec: Transcoder, schemas: Schemas) -> Schema:
    """The body's type without what the URL and the constants say, with what is lifted out of it."""
    route, request = codec.route, codec.route.rpc.input_type
    front = 0 if route.body == WHOLE else 1
    message = request if route.body == WHOLE else message_of(request.fields_by_name[route.body])
    fixed = [slot.path for slot in codec.variables.values()] + [slot.path for slot, _ in codec.constants]
    without = {path[front] for path in fixed if len(path) == front + 1}
    partial = route.method in ("PUT", "PATCH")
    if not without and not route.lift and not partial:
        return schemas.of_message(message)
    if route.lift:
        without.add("to")  # what the lifted recipients stand for
    schema = schemas.of_members(message, without=frozenset(without), partial=partial)
    for name, path in route.lift.items():
        field = field_at(request, path)
        if field is not None:
            schema["properties"][name] = schemas.of_field(field)
            if field_behavior_pb2.REQUIRED in behaviors(field):
                schema["required"] = [*schema.get("required", []), name]
    return schema


def _success(codec: Transcoder, schemas: Schemas) -> dict[str, Any]:
    route, response = codec.route, codec.route.rpc.output_type
    if route.success_status == HTTPStatus.NO_CONTENT:
        return {"204": {"description": "Done."}}
    field = response.fields_by_name[route.response_body] if route.response_body else None
    schema = schemas.of_field(field) if field is not None else schemas.of_message(response)
    if route.rpc.server_streaming:
        return {"200": _stream(schema)}
    content: dict[str, Any] = {"schema": schema}
    example = EXAMPLES.get(route.name)
    if example is not None and example.response is not None:
        content["example"] = example.response
    described = {"description": HTTPStatus(route.success_status).phrase, "content": {"application/json": content}}
    found = {str(route.success_status): described}
    if route.rpc.name == "SendMessage":
        accepted = "Accepted, outcome open: it was not waited for, or a provider may have taken the message (UNKNOWN)."
        found["202"] = {**described, "description": accepted}
    return found


def _stream(schema: Schema) -> dict[str, Any]:
    frames = "`id:` to resume from, `event:` the word of the event such as attempt_started, `data:` the event as JSON."
    document = {
        "type": "object",
        "required": ["events", "lastEventId"],
        "properties": {"events": {"type": "array", "items": schema}, "lastEventId": {"type": "string"}},
    }
    return {
        "description": "Every event as it happens, or those so far with `Accept: application/json`.",
        "content": {
            "text/event-stream": {"schema": {"type": "string", "description": frames}},
            "application/json": {"schema": document},
        },
    }


def _failures(codec: Transcoder) -> dict[str, Any]:
    return {
        status: {"$ref": f"#/components/responses/{status}"}
        for status in _FAILURES
        if (codec.takes_body or status not in _BODY_ONLY)
        and (codec.route.method != "GET" or status != "409")
        and (status != "422" or takes_key(codec.route))
    }


def _failure(text: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _page_operation(path: str, summary: str, media: str) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": {"description": "OK", "content": {media: {}}}}
    if path == "/readyz":
        responses["503"] = {"$ref": "#/components/responses/503"}
    return {
        "operationId": path.strip("/").replace(".", "-"),
        "tags": ["Operations"],
        "summary": summary,
        "security": [],
        "responses": responses,
    }
