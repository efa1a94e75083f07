"""The documentation page, made once from the OpenAPI document: one HTML text, no scripts, nothing from elsewhere."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; --ink: #1c2530; --soft: #5b6878; --paper: #fbfbf9; --card: #fff; --line: #e2e4e0;
  --get: #1a6fb5; --post: #19794a; --put: #9a5b00; --patch: #7a4bb0; --delete: #b3352c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --soft: #98a4b1; --paper: #12161b; --card: #1a2027;
  --line: #2c343d; --get: #6cb4ee; --post: #62c592; --put: #e0a458; --patch: #bb93ea; --delete: #ef8279; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2.5rem 1.25rem 5rem; }
h1 { font-size: 2rem; margin: 0; letter-spacing: -.02em; } h2 { margin: 3rem 0 .25rem; font-size: 1.3rem; }
p { margin: .5rem 0; } .soft { color: var(--soft); } a { color: var(--get); }
nav { display: flex; flex-wrap: wrap; gap: .5rem 1.25rem; margin: 1.25rem 0; }
code, pre { font: .875em/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
pre { background: var(--paper); border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem;
  overflow-x: auto; }
details { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; margin: .5rem 0; }
summary { display: flex; flex-wrap: wrap; gap: .25rem .75rem; align-items: baseline; padding: .65rem 1rem;
  cursor: pointer; }
summary:focus-visible { outline: 2px solid var(--get); outline-offset: 2px; border-radius: .6rem; }
summary code { font-weight: 600; overflow-wrap: anywhere; } details > div { padding: 0 1rem 1rem; }
.verb { font: 700 .75rem ui-monospace, monospace; min-width: 3.6rem; } .get { color: var(--get); }
.post { color: var(--post); } .put { color: var(--put); } .patch { color: var(--patch); }
.delete { color: var(--delete); }
h3 { font-size: .8rem; text-transform: uppercase; letter-spacing: .06em; color: var(--soft); margin: 1.25rem 0 .35rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .92rem; }
td { border-top: 1px solid var(--line); padding: .4rem .75rem .4rem 0; vertical-align: top; }
td:first-child { white-space: nowrap; }
"""

# The page may show its own style and nothing else: no script, no image, no network.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    + "'"
)

_HOW_TO_CALL = (
    '<p class="soft">Send <code>Authorization: Bearer &lt;token&gt;</code> with every call. '
    'The same in machine words: <a href="/openapi.json">/openapi.json</a>.</p>'
)
_CODE = re.compile(r"`([^`]+)`")


def rendered(document: Mapping[str, Any]) -> str:
    """The whole page."""
    info = document["info"]
    schemas = document["components"]["schemas"]
    groups = {tag["name"]: list(_operations(document, tag["name"])) for tag in document["tags"]}
    links = "".join(f'<a href="#{_slug(name)}">{escape(name)}</a>' for name in [*groups, "Types"])
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(info['title'])} API</title><style>{STYLE}</style></head><body><main>",
        f"<h1>{escape(info['title'])} API</h1>{_text(info['description'])}",
        _HOW_TO_CALL,
        f"<nav>{links}</nav>",
    ]
    for tag in document["tags"]:
        parts.append(f'<section id="{_slug(tag["name"])}"><h2>{escape(tag["name"])}</h2>')
        parts.append(f'<p class="soft">{escape(tag["description"])}</p>')
        parts.extend(groups[tag["name"]])
        parts.append("</section>")
    parts.append('<section id="types"><h2>Types</h2>')
    parts.extend(_type(name, schema) for name, schema in schemas.items())
    parts.append("</section></main></body></html>")
    return "\n".join(parts)


def _operations(document: Mapping[str, Any], tag: str) -> Iterator[str]:
    for path, operations in document["paths"].items():
        for verb, operation in operations.items():
            if tag in operation["tags"]:
                yield _operation(document, path, verb, operation)


def _operation(document: Mapping[str, Any], path: str, verb: str, operation: Mapping[str, Any]) -> str:
    inside = [_text(operation.get("description", ""))]
    if operation.get("parameters"):
        inside.append("<h3>Parameters</h3>" + _table(_parameter(each) for each in operation["parameters"]))
    if "requestBody" in operation:
        inside.append("<h3>Body</h3>" + _content(operation["requestBody"]))
    inside.append("<h3>Answers</h3>" + _table(_answer(document, *each) for each in operation["responses"].items()))
    inside.extend(_content(answer) for answer in operation["responses"].values())
    return (
        f'<details id="{escape(operation["operationId"])}"><summary><span class="verb {verb}">{verb.upper()}</span>'
        f'<code>{escape(path)}</code><span class="soft">{_inline(operation["summary"])}</span></summary>'
        f"<div>{''.join(inside)}</div></details>"
    )


def _content(body: Mapping[str, Any]) -> str:
    found = []
    for content in body.get("content", {}).values():
        properties = content.get("schema", {}).get("properties")
        if properties and "example" in content:
            found.append(_members(content["schema"]))
        if "example" in content:
            found.append(f"<pre>{escape(json.dumps(content['example'], indent=2, ensure_ascii=False))}</pre>")
        elif "schema" in content:
            found.append(_members(content["schema"]) if properties else f"<p>{_kind(content['schema'])}</p>")
    return "".join(found)


def _type(name: str, schema: Mapping[str, Any]) -> str:
    inside = _text(schema.get("description", "")) + (_members(schema) if "properties" in schema else "")
    return (
        f'<details id="type-{_slug(name)}"><summary><code>{escape(name)}</code></summary><div>{inside}</div></details>'
    )


def _members(schema: Mapping[str, Any]) -> str:
    required = set(schema.get("required", ()))
    return _table(
        (
            f"<code>{escape(name)}</code>{' *' if name in required else ''}",
            _kind(each),
            _inline(each.get("description", "")),
        )
        for name, each in schema["properties"].items()
    )


def _parameter(parameter: Mapping[str, Any]) -> tuple[str, ...]:
    star = " *" if parameter["required"] else ""
    name = f"<code>{escape(parameter['name'])}</code>{star}"
    return name, f"{escape(parameter['in'])}, {_kind(parameter['schema'])}", _inline(parameter.get("description", ""))


def _answer(document: Mapping[str, Any], status: str, answer: Mapping[str, Any]) -> tuple[str, ...]:
    if "$ref" in answer:
        answer = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    return f"<code>{escape(status)}</code>", _inline(answer["description"])


def _kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#type-{_slug(name)}">{escape(name)}</a>'
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    return escape(schema.get("format") or schema.get("contentEncoding") or schema.get("type") or "any value")


def _table(rows: Iterator[tuple[str, ...]]) -> str:
    cells = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table>{cells}</table></div>'


def _text(text: str) -> str:
    return "".join(f"<p>{_inline(part)}</p>" for part in re.split(r"\n\n|\n- ", text) if part.strip())


def _inline(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(text))


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
