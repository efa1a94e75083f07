"""What the adapters say of themselves, as Markdown tables: features, settings, options, limits, codes. Not the pages
they stand in (generate_matrix.py).
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

from services.adapters.base import Capabilities, Channel, secret_paths
from services.adapters.outcome import Verdict
from services.adapters.registry import BUILT_IN, Kind, merged

ROOT = Path(__file__).resolve().parent.parent
COMMENTS = ROOT / "gateway" / "openapi" / "comments.json"
MEANINGS = "messagepipe.config.v1.ProviderSchema.Capabilities."
NONE = "\N{EN DASH}"
ANY = "any"

# What the registry's entry says beside the capabilities, and what it means.
ABILITIES = {
    "check": "TestProvider asks the vendor whether the settings are good.",
    "rehearsal": "TestProvider can send a message that reaches nobody.",
    "options": "A message may say more to this kind alone, in `providerOptions`.",
}


def built_in() -> tuple[Kind, ...]:
    """The kinds of this repository, in the registry's order; a plug-in that happens to be installed is none of them."""
    return tuple(merged(BUILT_IN, ()).values())


def features(channel: Channel) -> str:
    """What each kind of a channel can, one row per feature that any of them has; the others are named below."""
    kinds = [kind for kind in built_in() if kind.spec.channel is channel]
    able = {name: [_can(kind, name) for kind in kinds] for name in _feature_names()}
    heads = ["feature", *(f"[{kind.spec.kind}]({kind.spec.kind}.md)" for kind in kinds), "means"]
    rows = [
        [_feature(name), *("yes" if each else NONE for each in can), _meaning(name)]
        for name, can in able.items()
        if any(can)
    ]
    lacking = ", ".join(_feature(name) for name, can in able.items() if not any(can))
    return table(heads, rows) + (f"\nNo kind of this channel has: {lacking}.\n" if lacking else "")


def _feature_names() -> list[str]:
    return [*(each.name for each in fields(Capabilities)), *ABILITIES]


def _can(kind: Kind, name: str) -> bool:
    match name:
        case "check":
            return kind.check is not None
        case "rehearsal":
            return kind.rehearsal is not None
        case "options":
            return bool(kind.spec.options_schema.get("properties"))
    return bool(getattr(kind.spec.capabilities, name))


def _feature(name: str) -> str:
    return "cc, bcc" if name == "cc_bcc" else name.replace("_", " ")


def _meaning(name: str) -> str:
    comments: Mapping[str, str] = json.loads(COMMENTS.read_text(encoding="utf-8"))
    return ABILITIES.get(name) or comments.get(MEANINGS + name, "")


def settings_at_a_glance() -> str:
    """Which settings each kind takes, and which of them are secret."""
    rows = []
    for kind in built_in():
        spec, properties = kind.spec, kind.spec.config_schema["properties"]
        needs = {name: _needed(name, spec.config_schema) for name in properties}
        choices = [" or ".join(map(_code, group)) for group in _choices(spec.config_schema)]
        rows.append(
            [
                f"[{spec.kind}]({spec.kind}.md), {spec.channel}",
                _codes(name for name, need in needs.items() if need == "yes"),
                "; ".join(choices) or NONE,
                _codes(name for name, need in needs.items() if need != "yes" and not need.startswith("this or")),
                _codes(".".join(path) for path in secret_paths(spec)),
            ]
        )
    return table(["kind", "required", "one or the other", "optional", "secret"], rows)


def glance(kinds: Sequence[Kind]) -> str:
    """One kind in a few rows, a column for each channel it is on."""
    rows: list[list[str]] = [
        ["can", *(", ".join(_feature(name) for name in _carried(kind)) or NONE for kind in kinds)],
        ["can not", *(", ".join(_feature(name) for name in _not_carried(kind)) or NONE for kind in kinds)],
        ["check", *("yes" if kind.check else "none" for kind in kinds)],
        ["rehearsal", *(_rehearsal(kind) for kind in kinds)],
        [
            "vendor's page",
            *(f"<{kind.spec.documentation_url}>" if kind.spec.documentation_url else NONE for kind in kinds),
        ],
    ]
    return table(["channel", *(kind.spec.channel for kind in kinds)], rows)


def _link(url: str) -> str:
    return f"<{url}>" if url else NONE


def _carried(kind: Kind) -> Iterator[str]:
    return (each.name for each in fields(Capabilities) if getattr(kind.spec.capabilities, each.name))


def _not_carried(kind: Kind) -> Iterator[str]:
    return (each.name for each in fields(Capabilities) if not getattr(kind.spec.capabilities, each.name))


def _rehearsal(kind: Kind) -> str:
    if kind.rehearsal is None:
        return "none"
    laid_over = ", ".join(f"{_code(name)}: {_code(_json(value))}" for name, value in kind.rehearsal.settings.items())
    parts = [f"to {_code(kind.rehearsal.recipient)}"]
    parts += [f"from {_code(kind.rehearsal.sender)}"] if kind.rehearsal.sender else []
    parts += [f"with {laid_over}"] if laid_over else []
    return ", ".join(parts)


def limits(kind: Kind) -> str:
    """What is checked before the wire, by field of the message; "" when nothing is."""
    rows = [[_code(field), words] for field, words in kind.spec.limits.items()]
    return table(["field", "takes"], rows) if rows else ""


def settings(kind: Kind) -> str:
    """Every setting, nested ones by their dotted names."""
    return table(["setting", "required", "secret", "default", "meaning"], _settings(kind.spec.config_schema, ""))


def _settings(schema: Mapping[str, Any], prefix: str) -> Iterator[list[str]]:
    for name, part in schema.get("properties", {}).items():
        yield [
            _code(prefix + name),
            _needed(name, schema, prefix.rstrip(".")),
            "yes" if part.get("writeOnly") else "",
            _code(_json(part["default"])) if "default" in part else "",
            _sentence(part),
        ]
        yield from _settings(part, f"{prefix}{name}.")


def _needed(name: str, schema: Mapping[str, Any], inside: str = "") -> str:
    if name in schema.get("required", ()):
        return f"with {_code(inside)}" if inside else "yes"
    choices = [group for group in _choices(schema) if name in group]
    if choices:
        return "this or " + " or ".join(_code(other) for other in choices[0] if other != name)
    askers = [asker for asker, asked in schema.get("dependentRequired", {}).items() if name in asked]
    return f"with {' or '.join(map(_code, askers))}" if askers else "no"


def _choices(schema: Mapping[str, Any]) -> Iterator[list[str]]:
    """The groups of settings of which one has to be given."""
    for part in (schema, *schema.get("allOf", ())):
        for word in ("anyOf", "oneOf"):
            if group := [each["required"][0] for each in part.get(word, ()) if each.get("required")]:
                yield group


def _sentence(part: Mapping[str, Any]) -> str:
    words = str(part.get("description") or part.get("title") or "")
    words += "." if words and not words.endswith((".", "!", "?")) else ""
    if part.get("enum"):
        words += f" {' or '.join(_code(str(each)) for each in part['enum'])}."
    return words.strip()


def options(kind: Kind) -> str:
    """What a message may say to this kind alone, nested ones by their dotted names; "" when there is nothing."""
    rows = list(_options(kind.spec.options_schema, ""))
    return table(["option", "takes", "meaning"], rows) if rows else ""


def _options(schema: Mapping[str, Any], prefix: str) -> Iterator[list[str]]:
    for name, part in schema.get("properties", {}).items():
        words = _sentence({**part, "enum": ()})
        yield [_code(prefix + name), _takes(part), words if "description" in part else words.rstrip(".")]
        if not _plain(part):
            yield from _options(part, f"{prefix}{name}.")


def _plain(part: Mapping[str, Any]) -> bool:
    """Whether an object's members say nothing but their types: then they stand in its own row."""
    members = part.get("properties", {}).values()
    return not any(member.keys() & {"title", "description", "properties"} for member in members)


def _takes(part: Mapping[str, Any]) -> str:
    if "enum" in part:
        return " or ".join(_code(str(each)) for each in part["enum"])
    match part.get("type"):
        case "array":
            most = f", at most {part['maxItems']}" if "maxItems" in part else ""
            return f"list of {_takes(part['items'])}{most}"
        case "object" if _plain(part):
            return "; ".join(f"{_code(name)}: {_takes(each)}" for name, each in part["properties"].items())
        case "object":
            return "as below"
    words = {"string": "text", "boolean": "`true` or `false`", "integer": "whole number"}
    word = words.get(part["type"], part["type"])
    ends = [str(part[end]) for end in ("minimum", "maximum") if end in part]
    return f"{word}, {' to '.join(ends)}" if ends else word


def outcomes(kind: Kind) -> str:
    """The kind's own tables of codes, as they stand at the top of its module; "" when it has none."""
    module = import_module(f"services.adapters.{kind.spec.channel.lower()}.{kind.spec.kind}")
    tables = {name: value for name, value in vars(module).items() if name.isupper() and is_code_table(value)}
    return "\n".join(
        (f"{name.replace('_', ' ').capitalize()}:\n\n" if len(tables) > 1 else "") + code_table(value)
        for name, value in tables.items()
    )


def is_code_table(value: object) -> bool:
    """Whether this is a table that makes verdicts of a vendor's words: a mapping of codes, or a tuple of rows."""
    if isinstance(value, Mapping):
        return bool(value) and all(isinstance(each, Verdict) for each in value.values())
    return isinstance(value, tuple) and bool(value) and all(isinstance(_verdict(each), Verdict) for each in value)


def _verdict(row: object) -> object:
    return getattr(row, "verdict", None)


def code_table(rows: Any, head: str = "code") -> str:
    """Such a table: the codes of a mapping by what they mean; rows one by one, as the first that matches decides."""
    if isinstance(rows, Mapping):
        by_verdict: dict[Verdict, list[str]] = {}
        for code, verdict in rows.items():
            by_verdict.setdefault(verdict, []).append(str(code) if head == "HTTP status" else _code(code))
        heads, lines = [head], [[", ".join(codes), *_meant(verdict)] for verdict, codes in by_verdict.items()]
    else:
        heads = [name for name in rows[0]._fields if name != "verdict"]
        lines = _joined([[*(_cell(getattr(row, name)) for name in heads), *_meant(row.verdict)] for row in rows])
    heads += ["outcome", "reason", "only for"]
    return table(heads, lines) if any(line[-1] for line in lines) else table(heads[:-1], [line[:-1] for line in lines])


def _joined(lines: list[list[str]]) -> list[list[str]]:
    """The same rows, each run of neighbours that differ in one column alone as one row."""
    for column in range(len(lines[0])):
        kept = lines[:1]
        for line in lines[1:]:
            alike = kept[-1][:column] + kept[-1][column + 1 :] == line[:column] + line[column + 1 :]
            if alike and ANY not in (kept[-1][column], line[column]):
                kept[-1] = [*line[:column], f"{kept[-1][column]} or {line[column]}", *line[column + 1 :]]
            else:
                kept.append(line)
        lines = kept
    return lines


def _meant(verdict: Verdict) -> list[str]:
    return [verdict.outcome.lower(), _code(verdict.reason), f"this {verdict.scope}" if verdict.scope else ""]


def _cell(value: Any) -> str:
    if value in ("", 0, "*", ()):
        return ANY
    return " or ".join(map(_code, value)) if isinstance(value, tuple) else _code(value)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, whatever stands in its cells."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _json(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False)


def _code(value: object) -> str:
    return f"`{value}`"


def _codes(names: Iterable[str]) -> str:
    return " ".join(map(_code, names)) or NONE
