"""Checks a provider's settings against its JSON Schema and says in words what is wrong. Not where settings are kept."""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from email_validator import EmailNotValidError, validate_email
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError

from services.adapters.base import ProviderSpec
from services.adapters.mime import ascii_domain

MAX_FAULTS = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# What the C library reads as an IPv4 address in a notation of its own, and HTTP clients do not (WHATWG URL §3.5).
_ODD_ADDRESS = re.compile(r"(.*\.)?(0[xX][0-9a-fA-F]*|[0-9]+)\.?\Z")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)\Z")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}\Z")
_FORMATS = FormatChecker(formats=())

_TYPE_WORDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}
_FORMAT_WORDS = {
    "email": "must be an email address",
    "uri": "must be an http:// or https:// address without user, query or fragment",
    "hostname": "must be a host name or IP address, without scheme, port or path",
    "e164": "must be a phone number in E.164 form, such as +14155550100",
}

Problem = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fault:
    """One jsonschema error, reduced to what the wording needs."""

    path: tuple[str | int, ...]
    keyword: str
    wanted: Any
    found: Any = field(repr=False)  # may be a secret
    schema: Mapping[str, Any]


def _fault(error: ValidationError) -> _Fault:
    return _Fault(
        path=tuple(error.absolute_path),
        keyword=str(error.validator),
        wanted=error.validator_value,
        found=error.instance,
        schema=error.schema if isinstance(error.schema, Mapping) else {},
    )


def settings_errors(spec: ProviderSpec, config: object) -> list[Problem]:
    """Every violation as (path, message), in the settings' own dotted JSON names; empty when all is well. Never
    echoes a value.
    """
    return schema_errors(spec.config_schema, config)


def schema_errors(schema: Mapping[str, Any], value: object) -> list[Problem]:
    """The same for any object and its schema. The schema must be a constant: it is compiled once and kept."""
    if not isinstance(value, Mapping):
        return [("", "must be an object")]
    errors = _validator(_Key(schema)).iter_errors(value)
    # Nobody reads more, and a list of 20,000 bad items would keep the service from everybody else for a second.
    faults = [_fault(error) for error in islice(errors, MAX_FAULTS)]
    problems = sorted(problem for fault in faults for problem in _explain(fault))
    problems += [(path, "must not contain control characters or line breaks") for path in _control_paths(value, "")]
    return list(dict.fromkeys(problems))


def normalise(spec: ProviderSpec, config: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings with integral floats as integers: a protobuf Struct hands 587 over as 587.0."""
    del spec  # the rule is the same for every kind; the parameter keeps room for one that needs more
    return {key: _whole(value) for key, value in config.items()}


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _whole(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(part) for part in value]
    return value


class _Key:
    """A schema as a cache key, by identity: schemas are module constants and dicts are not hashable."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema

    def __hash__(self) -> int:
        return id(self.schema)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.schema is self.schema


@lru_cache(maxsize=256)
def _validator(key: _Key) -> Draft202012Validator:
    return Draft202012Validator(dict(key.schema), format_checker=_FORMATS)


def _join(path: Iterable[object], *more: str) -> str:
    dotted = ""
    for part in [*path, *more]:
        dotted += f"[{part}]" if isinstance(part, int) else f".{part}" if dotted else str(part)
    return dotted


def _explain(fault: _Fault) -> Iterator[Problem]:
    explain = _EXPLAIN.get(fault.keyword)
    if explain is not None:
        yield from explain(fault)
        return
    hint = fault.schema.get("errorMessage")
    say = _SAY.get(fault.keyword, _say_nothing_more)
    yield _join(fault.path), hint if hint and fault.keyword in ("pattern", "format") else say(fault)


def _required(fault: _Fault) -> Iterator[Problem]:
    for name in fault.wanted:
        if name not in fault.found:
            yield _join(fault.path, name), "is required"


def _dependent(fault: _Fault) -> Iterator[Problem]:
    for given, needed in fault.wanted.items():
        for name in needed:
            if given in fault.found and name not in fault.found:
                yield _join(fault.path, name), f"is required when {given} is given"


def _unknown_keys(fault: _Fault) -> Iterator[Problem]:
    known = list(fault.schema.get("properties", {}))
    folded = {name.casefold(): name for name in known}
    for name in islice((name for name in fault.found if name not in known), MAX_FAULTS):
        close = difflib.get_close_matches(str(name).casefold(), folded, n=1, cutoff=0.6)
        told = f'did you mean "{folded[close[0]]}"?' if close else f"known are {', '.join(known) or 'none'}"
        yield _join(fault.path, str(name)), f"is not a known setting; {told}"


def _one_of(fault: _Fault) -> Iterator[Problem]:
    choices = [part["required"][0] for part in fault.wanted if isinstance(part.get("required"), list)]
    if fault.keyword == "oneOf" and sum(name in fault.found for name in choices) > 1:
        yield _join(fault.path, choices[0]), "cannot be given together with " + ", ".join(choices[1:])
    elif choices:
        yield _join(fault.path, choices[0]), f"is required unless {' or '.join(choices[1:])} is given"
    else:
        yield _join(fault.path), fault.schema.get("errorMessage", "fits none of the allowed forms")


_EXPLAIN: dict[str, Callable[[_Fault], Iterator[Problem]]] = {
    "required": _required,
    "dependentRequired": _dependent,
    "additionalProperties": _unknown_keys,
    "anyOf": _one_of,
    "oneOf": _one_of,
}


def _say_nothing_more(fault: _Fault) -> str:
    return f"does not satisfy the schema's {fault.keyword}"  # never jsonschema's own words: they quote the value


def _say_type(fault: _Fault) -> str:
    wanted: list[str] = fault.wanted if isinstance(fault.wanted, list) else [fault.wanted]
    return "must be " + " or ".join(_TYPE_WORDS.get(word, word) for word in wanted)


def _say_range(fault: _Fault) -> str:
    low, high, above = (fault.schema.get(word) for word in ("minimum", "maximum", "exclusiveMinimum"))
    if above is not None:
        return f"must be more than {above}" + (f" and at most {high}" if high is not None else "")
    if low is not None and high is not None:
        return f"must be between {low} and {high}"
    return f"must be at least {low}" if low is not None else f"must be at most {high}"


def _say_min_length(fault: _Fault) -> str:
    return "must not be empty" if fault.wanted == 1 else f"must be at least {fault.wanted} characters long"


_SAY: dict[str, Callable[[_Fault], str]] = {
    "type": _say_type,
    "enum": lambda e: "must be one of " + ", ".join(str(word) for word in e.wanted),
    "const": lambda e: f"must be {str(e.wanted).lower()}",
    "minimum": _say_range,
    "exclusiveMinimum": _say_range,
    "maximum": _say_range,
    "minLength": _say_min_length,
    "maxLength": lambda e: f"must be at most {e.wanted} characters long",
    "minItems": lambda e: "must not be empty" if e.wanted == 1 else f"must hold at least {e.wanted} items",
    "maxItems": lambda e: f"must hold at most {e.wanted} items",
    "pattern": lambda e: f"must match {e.wanted}",
    "format": lambda e: _FORMAT_WORDS.get(str(e.wanted), f"must be a valid {e.wanted}"),
}


def _control_paths(value: object, path: str) -> Iterator[str]:
    if isinstance(value, str) and _CONTROL.search(value):
        yield path
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _control_paths(part, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from _control_paths(part, f"{path}[{index}]")


@_FORMATS.checks("email", raises=EmailNotValidError)
def _is_email(value: object) -> bool:
    if isinstance(value, str):
        validate_email(value, check_deliverability=False, test_environment=True)
    return True


@_FORMATS.checks("uri", raises=ValueError)
def _is_uri(value: object) -> bool:
    if not isinstance(value, str):
        return True
    parts = urlsplit(value)
    # .port raises ValueError for one that is no number or out of range
    plain = parts.port != 0 and not (parts.username or parts.password or parts.query or parts.fragment)
    return plain and parts.scheme in ("http", "https") and bool(parts.hostname) and is_host(parts.hostname or "")


@_FORMATS.checks("hostname")
def _is_hostname(value: object) -> bool:
    return not isinstance(value, str) or is_host(value)


@_FORMATS.checks("e164")
def _is_e164(value: object) -> bool:
    return not isinstance(value, str) or bool(_E164.match(value))


def is_host(text: str) -> bool:
    """Whether this is a bare host name (RFC 1123 labels, underscores allowed, IDNA welcome) or an IP address."""
    try:
        ip_address(text)
        return True
    except ValueError:
        pass
    try:
        name = ascii_domain(text)
    except ValueError:
        return False
    if _ODD_ADDRESS.match(name):
        return False
    return len(name) <= 253 and all(_LABEL.match(label) for label in name.removesuffix(".").split("."))
