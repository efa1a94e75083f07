"""The path language of google.api.http."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http_rule import Path, TemplateError, match, parse, split

MATCHES: list[tuple[str, str, dict[str, str] | None]] = [
    ("/", "/", {}),
    ("/", "/x", None),
    ("/v1/messages", "/v1/messages", {}),
    ("/v1/messages", "/v1/messages/", None),
    ("/v1/messages", "/v1/message", None),
    ("/v1/messages/{id}", "/v1/messages/7", {"id": "7"}),
    ("/v1/messages/{id}", "/v1/messages/", None),
    ("/v1/messages/{id}", "/v1/messages/7/events", None),
    ("/v1/messages/{id}", "/v1/messages/a%2Fb", {"id": "a/b"}),
    ("/v1/messages/{id}", "/v1/messages/a%20b+c", {"id": "a b+c"}),
    ("/v1/messages/{id}", "/v1/messages/a:cancel", None),
    ("/v1/messages/{id}", "/v1/messages/a%3Acancel", {"id": "a:cancel"}),
    ("/v1/messages/{id}:cancel", "/v1/messages/7:cancel", {"id": "7"}),
    ("/v1/messages/{id}:cancel", "/v1/messages/7:retry", None),
    ("/v1/messages/{id}:cancel", "/v1/messages/:cancel", None),
    ("/v1/messages:batch", "/v1/messages:batch", {}),
    ("/v1/messages:batch", "/v1/messages", None),
    ("/v1/providers/{provider.id}", "/v1/providers/p", {"provider.id": "p"}),
    ("/v1/{name=messages/*}", "/v1/messages/7", {"name": "messages/7"}),
    ("/v1/{name=messages/*}", "/v1/providers/7", None),
    ("/v1/{name=messages/*}/events", "/v1/messages/7/events", {"name": "messages/7"}),
    ("/files/{path=**}", "/files/a/b/c", {"path": "a/b/c"}),
    ("/files/{path=**}", "/files", {"path": ""}),
    ("/*/x", "/anything/x", {}),
]


@pytest.mark.parametrize(("template", "path", "expected"), MATCHES)
def test_match(template: str, path: str, expected: dict[str, str] | None):
    """A template takes exactly the paths that its pattern describes, and says what its variables hold."""
    found = split(path)

    assert found is not None
    assert match(parse(template), found) == expected


@pytest.mark.parametrize(
    "template",
    [
        "",
        "v1",
        "/v1//x",
        "/v1/{",
        "/v1/{}",
        "/v1/{a..b}",
        "/v1/{a}x",
        "/v1/**/x",
        "/v1/{a}/{a}",
        "/v1/x:",
        "/v1/x y",
        "/v1/{a=}",
        "/v1/{1}",
        "/v1/x/",
        "/v1/}",
    ],
)
def test_a_broken_template_is_refused(template: str):
    """The error names the template."""
    with pytest.raises(TemplateError, match=r"has|begin|twice"):
        parse(template)


@pytest.mark.parametrize("path", ["", "x", "*", "/%ff", "/a/%c3"])
def test_a_path_that_is_no_path_is_none(path: str):
    """Relative ones and escapes that are not UTF-8."""
    assert split(path) is None


def test_two_templates_of_one_shape_match_the_same_paths():
    """What the variables are called makes no difference."""
    assert parse("/v1/providers/{id}").shape == parse("/v1/providers/{provider.id}").shape
    assert parse("/v1/providers/{id}").shape != parse("/v1/providers/{id}:test").shape


literals = st.from_regex(r"[a-z]{1,8}", fullmatch=True)
values = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(st.lists(literals, min_size=1, max_size=4), values)
def test_what_was_escaped_into_a_path_comes_out_of_its_variable(front: list[str], value: str):
    """Any text survives the way through a URL."""
    escaped = "".join(f"%{byte:02X}" for byte in value.encode())
    path = split("/" + "/".join([*front, escaped]))

    assert path is not None
    assert match(parse("/" + "/".join([*front, "{id}"])), path) == {"id": value}


@given(st.text(max_size=60))
def test_no_template_and_no_path_crashes(text: str):
    """Anything is either understood or refused."""
    path = split("/" + text)
    assert path is None or isinstance(path, Path)
    with suppress(TemplateError):
        parse(text)
