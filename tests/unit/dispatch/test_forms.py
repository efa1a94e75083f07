"""Messages made from templates: which values count, what is refused and how it is said."""

from typing import Any

import pytest
from messagepipe.dispatch.v1 import message_pb2
from messagepipe.type.v1 import channel_pb2

from services.adapters.base import Channel
from services.dispatch.errors import TemplateNotFound
from services.dispatch.forms import Form, filled, quickly_filled
from services.templates.parts import parse_parts
from tests.integration.rig import struct


def a_form(channel: Channel = Channel.EMAIL, **sources: str) -> Form:
    """A template of these parts."""
    return Form(id="form-1", version=3, channels=frozenset({channel}), parts=parse_parts(sources))


def a_spec(variables: dict[str, Any] | None = None, **fields: Any) -> message_pb2.MessageSpec:
    """A message that names the template."""
    spec = message_pb2.MessageSpec(channel=channel_pb2.CHANNEL_EMAIL, template_id="form-1", **fields)
    spec.variables.update(variables or {})
    return spec


def made(spec: message_pb2.MessageSpec, form: Form, **own: Any) -> message_pb2.MessageSpec:
    """The content, which is fine."""
    found = filled(spec, form, "message", struct(**own))
    assert isinstance(found, message_pb2.MessageSpec)
    return found


def wrong(spec: message_pb2.MessageSpec, form: Form) -> list[tuple[str, str]]:
    """What is wrong, as field and words."""
    found = filled(spec, form, "message")
    assert isinstance(found, tuple)
    return [(each.field, each.description) for each in found]


def test_html_is_escaped_and_nothing_else_is() -> None:
    """A subject that says &amp; would be wrong."""
    form = a_form(subject="{{x}}", html="<b>{{x}}</b>", text="{{x}}")
    spec = made(a_spec({"x": "<R&D>"}), form)
    assert (spec.subject, spec.html, spec.text) == ("<R&D>", "<b>&lt;R&amp;D&gt;</b>", "<R&D>")


def test_a_recipient_s_own_values_go_over_those_of_all() -> None:
    """Member by member; numbers that were written whole stay whole."""
    form = a_form(text="{{greeting}} {{name}} {{count}}")
    assert made(a_spec({"greeting": "Hi", "name": "all", "count": 3}), form, name="Ada").text == "Hi Ada 3"


def test_a_subject_of_the_message_s_own_is_a_template_too() -> None:
    """It stands for the template's, which may have none."""
    assert made(a_spec({"n": 7}, subject="Order {{n}}"), a_form(subject="-", text="x")).subject == "Order 7"
    assert wrong(a_spec(subject="{{#if"), a_form(text="x"))[0][0] == "message.subject"


def test_the_spec_of_the_caller_is_not_changed() -> None:
    """Its key stands for it as it was said."""
    spec = a_spec({"x": "1"})
    before = spec.SerializeToString(deterministic=True)
    made(spec, a_form(text="{{x}}"))
    assert spec.SerializeToString(deterministic=True) == before


def test_content_and_template_contradict_each_other() -> None:
    """Both are named."""
    found = wrong(a_spec(text="t", html="h"), a_form(text="x"))
    assert [field for field, _ in found] == ["message.text", "message.html"]


def test_strict_names_everything_that_is_missing() -> None:
    """By the path that a caller would fill; otherwise it is empty."""
    form = a_form(html="{{a}} {{b.c}}", text="{{a}}")
    spec = a_spec({"b": {}})
    assert made(spec, form).text == ""
    spec.strict_variables = True
    assert wrong(spec, form) == [("message.variables.a", "is missing"), ("message.variables.b.c", "is missing")]


def test_what_can_not_be_rendered_says_where() -> None:
    """A value that a helper can not work with is the template's line, and no value is repeated."""
    ((field, words),) = wrong(a_spec({"d": "SECRET"}), a_form(text='{{formatDate d "YYYY"}}'))
    assert field == "message.templateId"
    assert "line 1" in words
    assert "SECRET" not in words


def test_a_template_of_another_channel_does_not_exist() -> None:
    """For this message."""
    with pytest.raises(TemplateNotFound):
        filled(a_spec(), a_form(Channel.SMS, text="x"), "message")


def test_numbers_that_json_does_not_have_are_refused() -> None:
    """A Struct can carry them."""
    spec = a_spec({"a": {"b": [1, float("nan")]}, "c": float("inf")})
    assert sorted(wrong(spec, a_form(text="x"))) == [
        ("message.variables.a.b[1]", "must be a number that JSON has"),
        ("message.variables.c", "must be a number that JSON has"),
    ]


def test_what_takes_long_is_not_made_quickly() -> None:
    """Nor what is wrong: whoever makes it in a thread says so."""
    assert quickly_filled(a_spec({"x": "1"}), a_form(text="{{x}}"), "message") is not None
    assert quickly_filled(a_spec({"x": "1" * 10_000}), a_form(text="{{x}}"), "message") is None
    assert quickly_filled(a_spec({"x": [1] * 700}), a_form(text="{{#each x}}{{a}}{{b}}{{/each}}"), "message") is None
    assert quickly_filled(a_spec(text="t"), a_form(text="{{x}}"), "message") is None
