"""docs/templates.md says what is so: its examples render to what it shows, its limits are the ones in force."""

import json
import re
from pathlib import Path

import pytest

from services.config.template import MAX_CONTENT_BYTES, MAX_TEMPLATES
from services.templates import expressions, parser, scanner, words
from services.templates.helpers import HELPERS
from services.templates.parser import parse
from services.templates.renderer import LIMITS, render

PAGE = (Path(__file__).parents[3] / "docs" / "templates.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```handlebars\n(.*?)```\n\n```json\n(.*?)```\n\n```text\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize(("source", "values", "expected"), EXAMPLES)
def test_an_example_is_what_it_says(source, values, expected):
    """The template with the values renders to the text, escaped as HTML."""
    assert expected == render(parse(source), json.loads(values), escape=True)


def test_every_example_was_found():
    """No block of the page is left out of the test above."""
    assert PAGE.count("```handlebars") == len(EXAMPLES) == 3


@pytest.mark.parametrize(
    ("row", "numbers"),
    [
        ("all parts together", (MAX_CONTENT_BYTES,)),
        ("tags · words in all tags · in one", (scanner.MAX_TAGS, scanner.MAX_WORDS, words.MAX_WORDS)),
        ("blocks within blocks", (parser.MAX_DEPTH, expressions.MAX_PARENTHESES)),
        ("templates of one type", (MAX_TEMPLATES,)),
        ("characters put out", (LIMITS.output_chars,)),
        ("turns of all loops", (LIMITS.iterations,)),
        ("steps of work", (LIMITS.steps,)),
    ],
)
def test_a_limit_is_what_it_says(row, numbers):
    """Each number of the page is the one in the code; so is the size one part may have."""
    line = next(line for line in PAGE.splitlines() if line.startswith(f"| {row}"))

    assert list(numbers) == [int(number) for number in re.findall(r"\d+", line.split("|")[2])]
    assert scanner.MAX_SOURCE_BYTES == MAX_CONTENT_BYTES


def test_every_helper_is_on_the_page():
    """And every block."""
    blocks = [f"#{kind}" for kind in parser._BLOCKS]

    assert [name for name in (*HELPERS, *blocks) if name not in PAGE] == []
