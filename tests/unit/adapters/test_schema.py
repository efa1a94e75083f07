"""Settings checked against a kind's schema, in words."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from services.adapters.base import Channel, ProviderSpec, secret_paths
from services.adapters.registry import specs
from services.adapters.schema import is_host, normalise, settings_errors


def a_spec(properties: dict[str, Any], **more: Any) -> ProviderSpec:
    """A kind with these settings."""
    schema = {"type": "object", "additionalProperties": False, "properties": properties, **more}
    return ProviderSpec(
        kind="k", channel=Channel.EMAIL, title="", description="", documentation_url="", config_schema=schema
    )


SPEC = a_spec(
    {
        "apiKey": {"type": "string", "minLength": 1, "writeOnly": True},
        "region": {"enum": ["us", "eu"]},
        "port": {"type": "integer", "minimum": 1, "maximum": 65535},
        "wait": {"type": "number", "exclusiveMinimum": 0, "maximum": 600},
        "host": {"type": "string", "format": "hostname"},
        "baseUrl": {"type": "string", "format": "uri"},
        "fromEmail": {"type": "string", "format": "email"},
        "number": {"type": "string", "pattern": "^x$", "errorMessage": "must be an x"},
        "auth": {
            "type": "object",
            "additionalProperties": False,
            "required": ["user", "pass"],
            "properties": {"user": {"type": "string"}, "pass": {"type": "string", "writeOnly": True}},
        },
        "list": {"type": "array", "items": {"type": "string"}},
    },
    required=["apiKey"],
)


@pytest.mark.parametrize(
    ("config", "problems"),
    [
        ({"apiKey": "k"}, []),
        ({}, [("apiKey", "is required")]),
        ({"apiKey": ""}, [("apiKey", "must not be empty")]),
        ({"apiKey": 7}, [("apiKey", "must be text")]),
        ({"apiKey": "k", "region": "mars"}, [("region", "must be one of us, eu")]),
        ({"apiKey": "k", "port": 0}, [("port", "must be between 1 and 65535")]),
        ({"apiKey": "k", "wait": 0}, [("wait", "must be more than 0 and at most 600")]),
        ({"apiKey": "k", "wait": 601}, [("wait", "must be more than 0 and at most 600")]),
        ({"apiKey": "k", "port": 587.5}, [("port", "must be a whole number")]),
        ({"apiKey": "k", "port": 587.0}, []),
        ({"apiKey": "k", "port": True}, [("port", "must be a whole number")]),
        ({"apiKey": "k", "fromEmail": "nobody"}, [("fromEmail", "must be an email address")]),
        ({"apiKey": "k", "number": "y"}, [("number", "must be an x")]),
        ({"apiKey": "k", "auth": {"user": "u"}}, [("auth.pass", "is required")]),
        ({"apiKey": "k", "list": ["a", 1]}, [("list[1]", "must be text")]),
        ({"apiKey": "k\r\nX: y"}, [("apiKey", "must not contain control characters or line breaks")]),
        ("text", [("", "must be an object")]),
        (None, [("", "must be an object")]),
    ],
)
def test_one_violation(config: object, problems: list[tuple[str, str]]) -> None:
    """Each violation is told with its path and in words a person understands."""
    assert settings_errors(SPEC, config) == problems


def test_all_at_once() -> None:
    """Every violation is told at once, nested ones too."""
    found = settings_errors(SPEC, {"region": "mars", "auth": {"usr": "u"}, "port": 99999})
    assert [path for path, _ in found] == ["apiKey", "auth.pass", "auth.user", "auth.usr", "port", "region"]


def test_did_you_mean() -> None:
    """A misspelt setting is told with the name that was meant."""
    assert settings_errors(SPEC, {"apiKey": "k", "apikey": "k"}) == [
        ("apikey", 'is not a known setting; did you mean "apiKey"?')
    ]


def test_no_value_is_echoed() -> None:
    """Whatever is wrong with a value, the value itself is not in the message."""
    bad = {
        "apiKey": ["sekrit"],
        "region": "sekrit",
        "port": "sekrit",
        "host": "se krit",
        "number": "sekrit",
        "auth": "sekrit",
    }
    found = settings_errors(SPEC, bad)
    assert {path for path, _ in found} == set(bad)
    assert "krit" not in " ".join(message for _, message in found)


@pytest.mark.parametrize(
    "host", ["smtp.example.com", "localhost", "127.0.0.1", "::1", "my_relay", "bücher.example", "a.b."]
)
def test_host(host: str) -> None:
    """A host is a name or an address."""
    assert is_host(host)


@pytest.mark.parametrize(
    "host",
    [
        *["", "http://a.b", "a.b:25", "a/b", "a b", "-a.b", "a..b", "[::1]", "a@b", "x" * 64, "a\n"],
        *[
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "127.1",
            "127.0.0.1.",
            "0x7F000001",
            "①②⑦.⓪.⓪.①",
            "a.b.0x",
            "1.2.3.4.5",
        ],
    ],
)
def test_no_host(host: str) -> None:
    """A host has no scheme, port, path or space."""
    assert not is_host(host)


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://api.example.com", True),
        ("http://127.0.0.1:4010/mock", True),
        ("http://[::1]:80", True),
        ("ftp://example.com", False),
        ("example.com", False),
        ("https://", False),
        ("https://user:pw@example.com", False),
        ("https://example.com?x=1", False),
        ("https://example.com:99999", False),
        ("https://example.com:0", False),
        ("https://exa mple.com", False),
    ],
)
def test_base_url(url: str, good: bool) -> None:
    """An endpoint is an http or https address with nothing after the path."""
    assert (settings_errors(SPEC, {"apiKey": "k", "baseUrl": url}) == []) is good


def test_normalise() -> None:
    """Whole numbers that came as floats become integers, at any depth; everything else stays."""
    config = {"port": 587.0, "auth": {"n": 1.0}, "list": [2.0, 2.5, "3.0", True, None]}
    assert repr(normalise(SPEC, config)) == repr({"port": 587, "auth": {"n": 1}, "list": [2, 2.5, "3.0", True, None]})


def test_secret_paths() -> None:
    """Secrets are found by writeOnly, at any depth."""
    assert secret_paths(SPEC) == (("apiKey",), ("auth", "pass"))


@pytest.mark.parametrize("spec", specs(), ids=lambda spec: f"{spec.channel}-{spec.kind}")
def test_every_schema_can_draw_a_form(spec: ProviderSpec) -> None:
    """Every kind's schema is valid, closed, and names, describes and exemplifies each setting; its examples are
    valid.
    """
    Draft202012Validator.check_schema(spec.config_schema)
    assert spec.config_schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert spec.config_schema["additionalProperties"] is False
    for name, part in _leaves(spec.config_schema):
        assert part["title"], name
        assert part["description"], name
        assert part.get("examples") or part.get("enum") or part.get("writeOnly"), name
        alone = a_spec({"it": part})
        for example in part.get("examples", ()):
            assert settings_errors(alone, {"it": example}) == [], name


def _leaves(schema: Any) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, part in schema["properties"].items():
        found += _leaves(part) if "properties" in part else [(name, part)]
    return found
