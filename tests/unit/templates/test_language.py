"""What templates say, line by line: the facts of Handlebars' documentation and its specification's behaviour."""

from typing import Any

import pytest

from services.templates.parser import parse
from services.templates.renderer import render

VALUES: dict[str, Any] = {
    "name": "Ada",
    "markup": "<b>&\"'`=",
    "user": {"name": "Eve", "first name": "E.", "address": {"city": "Rome"}},
    "items": [{"n": 1, "tags": ["x", "y"]}, {"n": 2, "tags": []}],
    "words": ["a", "b", "c"],
    "prices": {"tea": 2, "cake": 3.5},
    "zero": 0,
    "no": False,
    "yes": True,
    "nothing": None,
    "empty": "",
    "none": [],
    "object": {},
    "date": "2024-03-09T05:07:02.045+02:00",
}

FACTS: list[tuple[str, str, str]] = [
    ("text stays", "plain } text }} { {x}", "plain } text }} { {x}"),
    ("a value", "Hi {{name}}", "Hi Ada"),
    ("blanks in a tag", "{{  name  }}", "Ada"),
    ("a path", "{{user.address.city}}", "Rome"),
    ("a path with slashes", "{{user/address/city}}", "Rome"),
    ("a segment literal", "{{user.[first name]}}", "E."),
    ("a string is a name in the place of a path", '{{user.name}}{{"name"}}', "EveAda"),
    ("missing is empty", "[{{nobody}}{{nobody.there}}{{name.of.a.text}}]", "[]"),
    ("null is empty", "[{{nothing}}]", "[]"),
    ("0 and false are text", "{{zero}} {{no}} {{yes}}", "0 false true"),
    ("numbers as JSON writes them", "{{prices.tea}} {{prices.cake}} {{lookup prices 'tea'}}", "2 3.5 2"),
    ("a list is joined", "{{words}}", "a,b,c"),
    ("an object is JavaScript's", "{{user}}", "[object Object]"),
    ("an item by its number", "{{words.1}}{{words.[2]}}{{words.9}}", "bc"),
    ("the length of a list", "{{words.length}}", "3"),
    ("HTML is escaped", "{{markup}}", "&lt;b&gt;&amp;&quot;&#x27;&#x60;&#x3D;"),
    ("three braces are not escaped", "{{{markup}}}", "<b>&\"'`="),
    ("an ampersand neither", "{{&markup}}", "<b>&\"'`="),
    ("what a helper makes is escaped", "{{uppercase markup}}", "&lt;B&gt;&amp;&quot;&#x27;&#x60;&#x3D;"),
    ("a backslash shows the braces", r"\{{name}} {{name}}", "{{name}} Ada"),
    ("two backslashes show one", r"\\{{name}}", "\\Ada"),
    ("a comment", "a{{! {{ }}b", "ab"),
    ("a long comment", "a{{!-- }} {{name}} --}}b", "ab"),
    ("if", "{{#if name}}y{{/if}}{{#if nobody}}n{{/if}}", "y"),
    ("else", "{{#if nobody}}y{{else}}n{{/if}}", "n"),
    ("^ is else", "{{#if nobody}}y{{^}}n{{/if}}", "n"),
    ("else if", "{{#if nobody}}1{{else if name}}2{{else}}3{{/if}}", "2"),
    ("else if, to the end", "{{#if nobody}}1{{else if empty}}2{{else unless yes}}3{{else}}4{{/if}}", "4"),
    ("unless", "{{#unless nobody}}y{{/unless}}{{#unless name}}n{{/unless}}", "y"),
    *((f"{name} is false", f"{{{{#if {name}}}}}y{{{{else}}}}n{{{{/if}}}}", "n") for name in ("zero", "no", "nothing")),
    *(
        (f"{name} is false", f"{{{{#if {name}}}}}y{{{{else}}}}n{{{{/if}}}}", "n")
        for name in ("empty", "none", "nobody")
    ),
    *((f"{name} is true", f"{{{{#if {name}}}}}y{{{{else}}}}n{{{{/if}}}}", "y") for name in ("yes", "object", "words")),
    ("0 may count", "{{#if zero includeZero=true}}y{{/if}}", "y"),
    ("each over a list", "{{#each words}}{{this}}{{@index}}{{/each}}", "a0b1c2"),
    ("each knows its ends", "{{#each words}}{{#if @first}}<{{/if}}{{this}}{{#if @last}}>{{/if}}{{/each}}", "<abc>"),
    ("each has the index as key", "{{#each words}}{{@key}}{{/each}}", "012"),
    ("each over an object, by its keys", "{{#each prices}}{{@key}}={{this}};{{/each}}", "cake=3.5;tea=2;"),
    ("each with nothing", "{{#each none}}x{{else}}none{{/each}}", "none"),
    ("each over a text is each over nothing", "{{#each name}}x{{else}}none{{/each}}", "none"),
    ("each in each", "{{#each items}}{{n}}{{#each tags}}{{.}}{{../n}}{{@../index}}{{/each}};{{/each}}", "1x10y10;2;"),
    ("the parent of a loop", "{{#each words}}{{../name}}{{/each}}", "AdaAdaAda"),
    ("the root of all", "{{#each items}}{{@root.name}}{{/each}}", "AdaAda"),
    ("if opens no scope", "{{#each words}}{{#if this}}{{../name}}{{/if}}{{/each}}", "AdaAdaAda"),
    ("above the root is nothing", "[{{../name}}{{../../name}}]", "[]"),
    ("block parameters", "{{#each words as |word i|}}{{word}}{{i}}{{/each}}", "a0b1c2"),
    ("block parameters reach inwards", "{{#each words as |w|}}{{#with ../user}}{{w}}{{/with}}{{/each}}", "abc"),
    (
        "this is no block parameter",
        "{{#with user as |name|}}{{name.name}}{{this.name}}{{./name}}{{/with}}",
        "EveEveEve",
    ),
    ("with", "{{#with user}}{{name}}{{address.city}}{{../name}}{{/with}}", "EveRomeAda"),
    ("with nothing", "{{#with nobody}}x{{else}}none{{/with}}", "none"),
    ("with 0", "{{#with zero}}{{this}}{{/with}}", "0"),
    ("a section of an object", "{{#user}}{{name}}{{/user}}", "Eve"),
    ("a section of a list", "{{#words}}{{.}}{{@index}}{{/words}}", "a0b1c2"),
    ("a section of true", "{{#yes}}{{name}}{{/yes}}", "Ada"),
    ("a section of nothing", "{{#nobody}}x{{^}}none{{/nobody}}{{^no}}!{{/no}}", "none!"),
    ("literals", "{{default nobody 'x'}}{{default nobody 1.50}}{{default nobody true}}", "x1.5true"),
    ("quotes in quotes", '{{default nobody "a\\"b"}}{{default nobody \'"\'}}', "a&quot;b&quot;"),
    ("braces in quotes", "{{default nobody '}}'}}", "}}"),
    ("a helper in a helper", "{{uppercase (default nobody (lowercase name))}}", "ADA"),
    ("a helper in a block", "{{#if (lookup user 'name')}}y{{/if}}", "y"),
    ("uppercase, lowercase, capitalize", "{{uppercase name}}{{lowercase name}}{{capitalize 'eve m'}}", "ADAadaEve m"),
    ("helpers of nothing", "[{{uppercase nobody}}{{capitalize empty}}{{formatDate nobody 'YYYY'}}]", "[]"),
    ("default", "{{default nobody 'x'}}{{default empty 'x'}}{{default nothing 'x'}}{{default name 'x'}}", "xxxAda"),
    ("default keeps 0 and false", "{{default zero 'x'}}{{default no 'x'}}", "0false"),
    ("ifEquals", "{{#ifEquals name 'Ada'}}y{{else}}n{{/ifEquals}}", "y"),
    ("ifEquals takes a number for its text", "{{#ifEquals prices.tea '2'}}y{{/ifEquals}}", "y"),
    ("ifEquals does not take true for 1", "{{#ifEquals yes 1}}y{{else}}n{{/ifEquals}}", "n"),
    ("ifNotEquals", "{{#ifNotEquals name 'Eve'}}y{{/ifNotEquals}}", "y"),
    ("a missing value equals null", "{{#ifEquals nobody null}}y{{/ifEquals}}", "y"),
    ("formatDate", '{{formatDate date "YYYY-MM-DD"}}', "2024-03-09"),
    ("formatDate, each token", "{{formatDate date 'YY M D H h m s SSS A Z'}}", "24 3 9 5 5 7 2 045 AM +02:00"),
    ("formatDate with words", "{{formatDate date 'dddd, MMMM Do [at] HH:mm'}}", "Saturday, March 9th at 05:07"),
    ("formatDate counts days", "{{formatDate '2024-01-11' 'Do'}} {{formatDate '2024-01-22' 'Do'}}", "11th 22nd"),
    ("formatDate of milliseconds", "{{formatDate 0 'DD MMM YYYY'}}", "01 Jan 1970"),
    ("formatDate of a day", "{{formatDate '2024-12-31' 'ddd DD.MM.'}}", "Tue 31.12."),
    ("~ takes the blanks before", "a \n {{~name}} b", "aAda b"),
    ("~ takes the blanks behind", "a {{name~}} \n b", "a Adab"),
    ("~ at blocks", "a {{~#if name~}} b {{~else~}} c {{~/if~}} d", "abd"),
    ("~ at three braces", "a {{~{name}~}} b", "aAdab"),
    ("~ at comments", "a {{~! x ~}} b {{~!-- y --~}} c", "abc"),
    ("a block's tags leave no line", "a\n{{#if name}}\nb\n{{/if}}\nc", "a\nb\nc"),
    ("nor do indented ones", "a\n  {{#if name}}  \n  b\n  {{else}}\n  c\n  {{/if}}\nd", "a\n  b\nd"),
    ("nor lines that end in CR LF", "a\r\n{{#if name}}\r\nb\r\n{{/if}}\r\nc", "a\r\nb\r\nc"),
    ("nor does a comment", "a\n {{! x }}\nb", "a\nb"),
    ("nor the first and the last line", "{{#if name}}\na\n{{/if}}", "a\n"),
    ("two tags on a line keep it", "a\n{{#if name}}{{/if}}\nb", "a\n\nb"),
    ("a value keeps its line", "a\n{{nobody}}\nb", "a\n\nb"),
    ("text beside a tag keeps the line", "a\n{{#if name}} b\n{{/if}}c", "a\n b\nc"),
]


@pytest.mark.parametrize(("source", "expected"), [fact[1:] for fact in FACTS], ids=[fact[0] for fact in FACTS])
def test_a_fact_of_the_language(source, expected):
    """The template renders to what Handlebars documents."""
    assert expected == render(parse(source), VALUES, escape=True)


@pytest.mark.parametrize("source", ["{{markup}}", "{{{markup}}}", "{{default markup 'x'}}"])
def test_nothing_is_escaped_in_plain_text(source):
    """Without `escape` a value comes out as it went in."""
    assert VALUES["markup"] == render(parse(source), VALUES, escape=False)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1.0, "1"),
        (-0.5, "-0.5"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (0.000001, "0.000001"),
        (1e-7, "1e-7"),
        (1.5e-9, "1.5e-9"),
        (2**53, "9007199254740992"),
        (10**400, "Infinity"),
        (-(10**400), "-Infinity"),
        (float("nan"), "NaN"),
    ],
)
def test_numbers_are_written_as_javascript_writes_them(number, expected):
    """A number of any size has the text that a REST client expects."""
    assert expected == render(parse("{{n}}"), {"n": number}, escape=True)
