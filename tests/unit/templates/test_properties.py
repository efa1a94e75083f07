"""What holds for every template and every value, found by trying thousands."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.templates.errors import TemplateError
from services.templates.parser import parse
from services.templates.renderer import render
from services.templates.variables import variables

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=12,
)
# Bits that make tags likely: whole sources of them are mostly wrong, and some are right in odd ways.
WORDS = (
    "{{ }} {{{ }}} {{{{ ~ # / ^ & ! !-- -- > * else if each with unless ifEquals a a.b ../a ./ this @index @root.a "
    "@ . .. as |i| | ( ) uppercase default lookup formatDate includeZero=true = \" ' [ ] \\ 1 -1.5 true null "
    "{{a}} {{#if {{/if}} {{else}} {{#each}} {{/each}}"
)
BITS = st.sampled_from([*WORDS.split(), "{{#each a}}", "{{#if a}}", "\n", "\r\n", " "])
SOURCES = st.lists(BITS, max_size=40).map("".join) | st.lists(BITS, max_size=40).map(" ".join) | st.text()


@given(st.text().filter(lambda text: "{{" not in text))
def test_plain_text_survives(text):
    """What holds no tag comes out as it went in, backslashes, lone braces and line ends included."""
    assert text == render(parse(text), {}, escape=True)


@given(st.text())
def test_a_value_can_not_leave_its_place_in_html(text):
    """Whatever a value holds, no character that means something to HTML comes out of an escaped tag."""
    made = render(parse("{{x}}"), {"x": text}, escape=True)

    assert not set(made) & set("<>\"'`=")
    assert text == _unescaped(made)


@settings(max_examples=300)
@given(SOURCES, st.dictionaries(st.sampled_from("abcd"), JSON, max_size=4), st.booleans(), st.booleans())
def test_nothing_but_a_template_error_comes_out(source, values, escape, strict):
    """Any source with any values ends in a text or in a TemplateError, twice the same."""
    assert _outcome(source, values, escape, strict) == _outcome(source, values, escape, strict)


@given(SOURCES, JSON)
def test_what_json_can_carry_renders_alike(source, value):
    """Values that went over the wire as JSON render as they did before."""
    values = {"a": value}

    assert _outcome(source, values, False, False) == _outcome(source, json.loads(json.dumps(values)), False, False)


HOSTILE = [
    "{{",
    "{{{",
    "{{{{",
    "\\{{",
    '{{"',
    "{{'",
    "{{[",
    "{{#if x}}",
    "{{!--",
    "{{(",
    "{{a ",
    "a=",
    "a.",
    "a ",
    "{{a.",
    "{{../",
    "{{x as |",
    "{",
    "\n \t",
    " {{~a~}} ",
    "\\",
]


@pytest.mark.parametrize("bit", HOSTILE)
@pytest.mark.parametrize("begin", ["", "{{", "{{x ", "{{default (", '{{"', "{{x [", "{{!-- "])
def test_reading_is_linear(begin, bit):
    """A megabyte of anything is read, or refused, within the processor time of a megabyte of anything else."""
    source = (begin + bit * (1024 * 1024 // len(bit)))[: 1024 * 1024]
    began = time.process_time()
    _outcome(source, {}, True, False)

    assert time.process_time() - began < 3


def _outcome(source, values, escape, strict):
    try:
        template = parse(source)
        variables(template)
        return render(template, values, escape=escape, strict=strict)
    except TemplateError as error:
        return type(error), error.problems


def _unescaped(text):
    for character, entity in (("<", "lt"), (">", "gt"), ('"', "quot"), ("'", "#x27"), ("`", "#x60"), ("=", "#x3D")):
        text = text.replace(f"&{entity};", character)
    return text.replace("&amp;", "&")
