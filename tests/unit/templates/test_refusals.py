"""How templates and values are refused: where, with everything at once, and by which limit."""

import pytest

from services.templates.errors import BadTemplate, BadValue, LimitExceeded, MissingValues, Position
from services.templates.parser import parse
from services.templates.parts import parse_parts, render_parts, variables_of
from services.templates.renderer import Limits, render
from services.templates.variables import variables


@pytest.mark.parametrize(
    ("source", "line", "column", "words"),
    [
        ("a\n  {{#if x}}", 2, 3, "{{#if}} is never closed"),
        ("{{/if}}", 1, 1, "closes nothing that is open"),
        ("{{#if x}}{{/each}}{{/if}}", 1, 10, "closes nothing that is open"),
        ("{{#if x}}{{#each y}}{{/if}}", 1, 10, "{{#each}} is never closed"),
        ("{{else}}", 1, 1, "this else belongs to no block"),
        ("{{#if x}}{{else}}{{else}}{{/if}}", 1, 18, "has an else already"),
        ("{{upercase x}}", 1, 3, "did you mean uppercase?"),
        ("{{x y}}", 1, 3, 'there is no helper "x"'),
        ("{{default (y) 1}}", 1, 12, 'there is no helper "y"'),
        ("{{#ifEqual a b}}{{/ifEqual}}", 1, 4, "did you mean ifEquals?"),
        ("{{#ifEquals a}}{{/ifEquals}}", 1, 4, "takes 2 values, not 1"),
        ("{{#uppercase}}{{/uppercase}}", 1, 4, "is no block"),
        ("{{uppercase}}", 1, 3, "write this.uppercase"),
        ("{{formatDate x}}", 1, 3, "takes 2 values, not 1"),
        ("{{uppercase x y=1}}", 1, 3, "takes no y="),
        ("{{#if x includeZero=1}}{{/if}}", 1, 4, "includeZero is true or false"),
        ("{{#each x as |a b c|}}{{/each}}", 1, 4, "2 block parameters at most"),
        ("{{#each x as a}}{{/each}}", 1, 4, "takes 1 value, not 3"),
        ("{{#each x as |a}}{{/each}}", 1, 11, "block parameters are written"),
        ("{{> partial}}", 1, 1, "partials ({{> x}}) are not served"),
        ("{{#> layout}}{{/layout}}", 1, 1, "partial blocks and decorators are not served"),
        ("{{{{raw}}}}", 1, 1, "raw blocks"),
        ("{{* x}}", 1, 1, "decorators"),
        ("{{}}", 1, 1, "this tag is empty"),
        ("{{#}}{{/}}", 1, 1, "this block has no name"),
        ("{{x", 1, 3, "this tag is not closed"),
        ("{{{x}}", 1, 5, "does not belong here"),
        ("{{x 'y}}", 1, 5, "this ' is not closed"),
        ("{{[x}}", 1, 3, "this [ is not closed"),
        ("{{x..y}}", 1, 6, "does not belong here"),
        ("{{a.this}}", 1, 3, "may only stand at the beginning"),
        ("{{@indx}}", 1, 3, "there are @index"),
        ("{{!-- x }}", 1, 1, "this comment is not closed"),
        ("{{x" + " y" * 500 + "}}", 1, 3, "more than 500 words"),
        ("{{x" + ".y" * 50 + "}}", 1, 3, "more than 50 steps"),
        ("{{default (x 1}}", 1, 11, "this ( is not closed"),
    ],
)
def test_a_mistake_is_told_with_its_place(source, line, column, words):
    """A template that does not parse is refused with what is wrong, and where."""
    with pytest.raises(BadTemplate) as caught:
        parse(source)

    assert [Position(line, column)] == [each.at for each in caught.value.problems]
    assert words in caught.value.problems[0].message


def test_all_mistakes_are_told_at_once():
    """Three mistakes in one template are three problems, in the order of the source."""
    with pytest.raises(BadTemplate) as caught:
        parse("{{a b}}\n{{#each}}{{/each}}\n{{/with}}")

    assert [(each.at.line, each.at.column) for each in caught.value.problems if each.at] == [(1, 3), (2, 4), (3, 1)]


def test_strict_names_every_path_that_is_missing():
    """With strict, all missing paths are named from the root, in the order of the template; null is not missing."""
    template = parse(
        "{{a}}{{b.c}}{{given}}{{nothing}}"
        "{{#each items as |i|}}{{n}}{{i.m}}{{../d}}{{#with o}}{{p}}{{/with}}{{/each}}{{a}}"
    )
    values = {"given": "", "nothing": None, "items": [{"n": 1, "m": 1, "o": {"q": 1}}, {"m": 2, "o": {"p": 1}}]}

    with pytest.raises(MissingValues) as caught:
        render(template, values, escape=True, strict=True)

    assert caught.value.names == ("a", "b.c", "d", "items[0].o.p", "items[1].n")


def test_strict_lets_a_template_ask_whether_something_is_there():
    """if, unless, ifEquals, sections and the first value of default may miss; so may what is not reached."""
    template = parse(
        "{{#if a}}{{b}}{{/if}}{{#unless a}}{{/unless}}{{#ifEquals a 1}}{{/ifEquals}}{{#a}}{{/a}}{{default a 'x'}}"
    )

    assert render(template, {}, escape=True, strict=True) == "x"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{name}} {{name}}", ("name",)),
        ("{{#if order}}{{order.id}}{{/if}}", ("order.id",)),
        ("{{#each items}}{{price}}{{../shop}}{{@index}}{{/each}}", ("items[].price", "shop")),
        ("{{#each items as |item i|}}{{item.name}}{{i}}{{/each}}", ("items[].name",)),
        ("{{#each orders}}{{#each lines}}{{sku}}{{../id}}{{/each}}{{/each}}", ("orders[].lines[].sku", "orders[].id")),
        ("{{#each words}}{{this}}{{/each}}", ("words[]",)),
        ("{{#each words}}x{{else}}{{none}}{{/each}}", ("words", "none")),
        ("{{#with user}}{{name}}{{@root.shop}}{{/with}}", ("user.name", "shop")),
        ("{{uppercase (default nick name)}} {{lookup prices sku}}", ("nick", "name", "prices", "sku")),
        ("{{../above}}{{default 1 2}}", ()),
        ("{{#each (lookup a 'b')}}{{lost}}{{../found}}{{/each}}", ("a", "found")),
        ("{{this.x}}{{./y}}{{[first name]}}", ("x", "y", "first name")),
    ],
)
def test_the_variables_of_a_template(source, expected):
    """What a caller has to give is read from the template, whatever branch it stands in."""
    assert expected == variables(parse(source))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x" * (1024 * 1024 + 1), "1048577 bytes"),
        ("ü" * (512 * 1024 + 1), "bytes"),
        ("{{x}}" * 10_001, "more than 10000 tags"),
        (("{{x" + " y" * 400 + "}}") * 126, "more than 50000 words"),
        ("{{#if x}}" * 65 + "{{/if}}" * 65, "deeper than 64"),
        ("{{#if x}}" + "{{else if y}}" * 65 + "{{/if}}", "deeper than 64"),
    ],
)
def test_what_is_too_much_to_read(source, words):
    """A template that is too long, too deep or has too many tags is refused before it is built."""
    with pytest.raises(LimitExceeded, match=words):
        parse(source)


def test_parentheses_have_a_depth():
    """Helpers within helpers end at sixteen."""
    with pytest.raises(BadTemplate, match="deeper than 16"):
        parse("{{uppercase " + "(uppercase " * 17 + "x" + ")" * 17 + "}}")


MANY = {"a": list(range(1000)), "long": "x" * 100_000}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{#each a}}{{#each ../a}}{{/each}}{{/each}}", "loops more than 20000 times"),
        ("{{#each a}}{{../long}}{{/each}}", "more than 2000000 characters"),
        ("{{#each a}}{{#if (uppercase ../long)}}{{/if}}{{/each}}", "more than 200000 steps"),
        ("{{#each a}}{{#ifEquals ../long ../long}}{{/ifEquals}}{{/each}}", "more than 200000 steps"),
        ("{{#each a}}{{#if (uppercase ../a)}}{{/if}}{{/each}}", "more than 200000 steps"),
    ],
)
def test_what_is_too_much_to_render(source, words):
    """A rendering ends at its limits, counted and not timed."""
    with pytest.raises(LimitExceeded, match=words):
        render(parse(source), MANY, escape=True)


def test_a_look_up_costs_one_step_however_long_the_list():
    """A thousand look-ups in a list of a thousand are no trouble."""
    template = parse("{{#each a}}{{lookup ../a @index}}{{/each}}")

    assert "".join(map(str, range(1000))) == render(template, MANY, escape=True)


@pytest.mark.parametrize(
    ("source", "value", "words"),
    [
        ("{{formatDate x 'YYYY'}}", "tomorrow", "no date in ISO 8601"),
        ("{{formatDate x 'YYYY'}}", 1e300, "no date"),
        ("{{formatDate x 'YYYY'}}", True, "no date"),
        (f"{{{{formatDate x '{'Y' * 101}'}}}}", 0, "more than 100 characters"),
        ("{{x}}", object(), "which JSON does not have"),
        ("{{x}}", b"bytes", "which JSON does not have"),
        ("{{uppercase x}}", object(), "which JSON does not have"),
    ],
)
def test_values_a_template_can_not_work_with(source, value, words):
    """A value of the wrong sort is refused with the place of the tag, and is not quoted."""
    with pytest.raises(BadValue, match=words) as caught:
        render(parse(source), {"x": value}, escape=True)

    assert caught.value.problems[0].at is not None
    assert "tomorrow" not in str(caught.value)


@pytest.mark.parametrize("path", ["__class__", "x.__class__", "x.upper", "items.append", "x.[0]", "values", "keys"])
def test_nothing_of_python_is_in_reach(path):
    """A path leads into the JSON only: no attribute, no method, no character of a text."""
    assert render(parse(f"{{{{{path}}}}}"), {"x": "text", "items": [1]}, escape=True) == ""


def test_lists_within_lists_have_a_depth():
    """A list that goes too deep is a bad value, not a stack that overflows."""
    nested: list[object] = []
    for _ in range(5000):
        nested = [nested]

    with pytest.raises(BadValue, match="more than 32 deep"):
        render(parse("{{x}}"), {"x": nested}, escape=True)


def test_the_parts_of_a_message_are_refused_together():
    """The problems of all parts come at once, each with its part."""
    with pytest.raises(BadTemplate) as caught:
        parse_parts({"subject": "{{#if}}{{/if}}", "html": "fine", "text": "{{x"})

    assert [each.part for each in caught.value.problems] == ["subject", "text"]


def test_only_html_is_escaped():
    """A subject and a plain text hold the value as it is."""
    parts = parse_parts(dict.fromkeys(("subject", "html", "text"), "{{x}}"))

    assert render_parts(parts, {"x": "<"}) == {"subject": "<", "html": "&lt;", "text": "<"}


def test_strict_names_what_any_part_misses_once():
    """What is missing in two parts is named once; beside a mistake it is not named at all."""
    parts = parse_parts({"subject": "{{a}}", "html": "{{a}}{{b}}"})

    with pytest.raises(MissingValues) as caught:
        render_parts(parts, {}, strict=True)

    assert ("a", "b") == caught.value.names == variables_of(parts)
    with pytest.raises(LimitExceeded):
        render_parts(parts | parse_parts({"text": "xxx"}), {}, strict=True, limits=Limits(output_chars=2))


def test_what_strict_names_is_short_whatever_members_are_called():
    """A member's name of a megabyte is copied neither for each turn of a loop nor into the answer."""
    template = parse("{{#each a}}{{#each this}}{{x}}{{@root.q}}{{/each}}{{/each}}")
    with pytest.raises(MissingValues) as caught:
        render(template, {"a": {"k" * 1_000_000: [{}] * 5000}}, escape=True, strict=True)
    assert "q" in str(caught.value.names)
    assert max(map(len, caught.value.names)) <= 200
