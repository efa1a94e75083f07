"""The OpenAPI document."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.app import codecs
from gateway.openapi.document import openapi_document, path_of
from gateway.openapi.examples import EXAMPLES
from gateway.transcode import Transcoder

CODECS = {codec.route.name: codec for codec in codecs()}
DOCUMENT = openapi_document(CODECS.values())
ROOT = Path(__file__).parents[4]


def operations() -> dict[str, dict[str, Any]]:
    """Every operation by method and path."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
    }


def resolvable(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema with the document's components beside it."""
    return {**schema, "components": DOCUMENT["components"]}


def test_it_is_valid():
    """OpenAPI 3.1, all references included."""
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_every_route_is_in_it_once():
    """And the four pages, and the way in for receipts."""
    found = operations()

    assert len(found) == len(CODECS) + 5
    assert len({each["operationId"] for each in found.values()}) == len(found)
    assert "PUT /email-config/providers/{id}" in found
    assert "GET /email-config/provider-schemas/{kind}" in found
    assert "POST /v1/messages/{id}:cancel" in found


def test_everything_is_described():
    """Each operation has a summary, each of the contract's schemas a description."""
    assert all(each["summary"] for each in operations().values())
    assert all(schema.get("description") for schema in DOCUMENT["components"]["schemas"].values())


def test_a_documented_body_has_only_what_the_caller_says():
    """No constant, no field of the path; what is lifted is a member; an update requires nothing."""
    found = operations()
    create = body_schema(found["POST /email-config/providers"])
    update = body_schema(found["PUT /email-config/providers/{id}"])
    bulk = body_schema(found["POST /email/send-bulk"])

    assert "channel" not in create["properties"]
    assert create["required"] == ["provider", "name", "config"]
    assert "required" not in update
    assert "id" not in update["properties"]
    assert bulk["properties"]["recipients"]["type"] == "array"
    assert bulk["required"] == ["recipients"]


def body_schema(operation: dict[str, Any]) -> dict[str, Any]:
    """The schema of an operation's body."""
    schema: dict[str, Any] = operation["requestBody"]["content"]["application/json"]["schema"]
    return schema


def test_streams_are_offered_as_events_and_as_json():
    """By Accept."""
    content = operations()["GET /v1/messages/{messageId}/events"]["responses"]["200"]["content"]

    assert set(content) == {"text/event-stream", "application/json"}


def test_statuses_of_success_are_the_routes_own():
    """201, 202, 204; sending has two."""
    found = operations()
    expected = {
        "POST /email-config/providers": ["201"],
        "DELETE /v1/providers/{id}": ["204"],
        "POST /v1/messages": ["202"],
        "POST /email/send": ["200", "202"],
    }

    assert {
        name: [status for status in found[name]["responses"] if status.startswith("2")] for name in expected
    } == expected


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_is_good_by_codec_and_by_schema(name: str):
    """What the document shows can be sent, and what it answers fits its own schema."""
    example, codec = EXAMPLES[name], CODECS[name]
    path = next(each for each in operations() if each.partition(" ")[0] == codec.route.method and _same(each, codec))
    operation = operations()[path]
    if example.request is not None:
        variables = dict.fromkeys(codec.variables, "EMAIL")
        codec.request(variables, [], json.dumps(example.request).encode())
        jsonschema.validate(example.request, resolvable(body_schema(operation)))
    if example.response is not None:
        content = operation["responses"][str(codec.route.success_status)]["content"]["application/json"]
        jsonschema.validate(example.response, resolvable(content["schema"]))


def _same(name: str, codec: Transcoder) -> bool:
    return name.partition(" ")[2] == path_of(codec.route)


def test_the_comments_are_those_of_the_protos():
    """A changed proto whose comments were not written anew fails here."""
    script = ROOT / "scripts" / "generate_comments.py"
    result = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stderr


def test_a_body_that_is_a_text_is_offered_beside_json():
    """With what the JSON would have held as query parameters; a route without one has neither."""
    found = operations()
    create, sms = found["POST /templates"], found["POST /sms-templates"]

    assert set(create["requestBody"]["content"]) == {"application/json", "text/html"}
    assert set(sms["requestBody"]["content"]) == {"application/json"}
    names = {each["name"] for each in create["parameters"] if each["in"] == "query"}
    assert {"projectId", "name", "subject"} <= names
    assert not {"html", "version", "id"} & names
    assert {each["name"] for each in sms["parameters"] if each["in"] == "query"} == {"projectId"}


def test_a_query_of_any_name_is_one_map():
    """`explode` makes each member a parameter of its own."""
    (every,) = [each for each in operations()["GET /templates/render/{id}"]["parameters"] if each["in"] == "query"]

    assert (every["name"], every["style"], every["explode"]) == ("variables", "form", True)
    assert every["schema"]["additionalProperties"] == {"type": "string"}
