"""Structured logs: one line per event on stderr, ids bound once. Not metrics, and never a copy of what users send.

Three guards stand before the line is written: values under telling names are replaced, addresses, numbers and tokens
inside other texts are scrubbed, and control characters are escaped, so that no caller can forge a line.
"""

import functools
import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, TextIO, cast

import structlog
from structlog.contextvars import bind_contextvars, bound_contextvars, clear_contextvars
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from services.chassis.clock import Clock, SystemClock
from services.chassis.env import SecretText

LEVELS = ("debug", "info", "warning", "error", "critical")
REDACTED = "***"

_SECRETS = frozenset(
    {
        "key",
        "token",
        "authorization",
        "password",
        "passwd",
        "secret",
        "api_key",
        "apikey",
        "access_key",
        "private_key",
        "credential",
        "credentials",
        "cookie",
        "dsn",
        "database_url",
    }
)
_PEOPLE = frozenset(
    {"recipient", "recipients", "to", "cc", "bcc", "from", "sender", "reply_to", "phone", "email", "address"}
)
_CONTENTS = frozenset({"body", "text", "html", "subject", "content", "payload", "attachments", "headers"})
_TELLING = _SECRETS | _PEOPLE | _CONTENTS
_TELLING_ENDINGS = ("_token", "_secret", "_password", "_key", "_credentials")

_ADDRESS = re.compile(r"[^\s@<>\"'(),:;=\[\]{}]+@[^\s@<>\"'(),:;=\[\]{}]+")
_NUMBER = re.compile(r"\+\d[\d ().-]{5,18}\d")
_JWT = re.compile(r"eyJ[\w-]{5,}\.[\w-]+(?:\.[\w-]*)?")
_API_KEY = re.compile(r"mzl_[0-9A-Za-z]{8,}")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")
_SPACE = re.compile(r"\s")
_USER_INFO = re.compile(r"://[^\s/@]*@")
# PostgreSQL puts the values of the offending row into DETAIL and the offending input after it.
_PG_DETAIL = re.compile(r"(DETAIL:).*")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")


def configure(*, service: str, json: bool | None = None, level: str = "info", clock: Clock | None = None) -> None:
    """Sends this process's logs, and its libraries', to stderr; `json` None means JSON unless stderr is a terminal."""
    if level.lower() not in LEVELS:
        raise ValueError(f"{level!r} is not a log level; use one of {', '.join(LEVELS)}")
    number = getattr(logging, level.upper())
    as_json = not sys.stderr.isatty() if json is None else json
    before = _processors(service, clock or SystemClock(), as_json)
    render = _renderer(as_json)
    structlog.configure(
        processors=[*before, render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
    _take_over_stdlib(before, render, number)


def get_logger(**bound: object) -> FilteringBoundLogger:
    """A logger; may be taken at import, it follows a later `configure`."""
    return cast(FilteringBoundLogger, structlog.get_logger(**bound))


def scrub(text: str) -> str:
    """`text` without email addresses, phone numbers, tokens, API keys, passwords in URLs, PostgreSQL's row details."""
    if "DETAIL:" in text:
        text = _PG_DETAIL.sub(r"\1 ***", text)
    if "@" in text:
        text = _ADDRESS.sub("<address>", _USER_INFO.sub("://***@", text))
    if "+" in text:
        text = _NUMBER.sub("<number>", text)
    if "eyJ" in text:
        text = _JWT.sub("<token>", text)
    if "mzl_" in text:
        text = _API_KEY.sub("<api key>", text)
    # What follows the scheme's name is set apart by a space, and most texts of ours have none.
    return _BEARER.sub(r"\1 <token>", text) if _SPACE.search(text) else text


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The processor that hides values under telling names and scrubs all other texts, however deeply nested."""
    for key, value in event.items():
        event[key] = _redacted(key, value)
    return event


def neutralise(text: str) -> str:
    """`text` with control, bidirectional and line-breaking characters written as escapes."""
    return _CONTROL.sub(_escape, text)


def _processors(service: str, clock: Clock, as_json: bool) -> list[Processor]:
    def stamp(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        event["service"] = service
        event["level"] = "warning" if method == "warn" else "error" if method == "exception" else method
        event["time"] = clock.now().isoformat(timespec="milliseconds")
        return event

    def one_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        for key, value in event.items():
            if isinstance(value, str):
                # A traceback keeps its line breaks; the bar keeps a line inside it from passing for a log line.
                lines = value.split("\n") if key == "exception" else [value]
                event[key] = "\n  | ".join(map(neutralise, lines))
        return event

    return [
        structlog.contextvars.merge_contextvars,
        stamp,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redact,
        *([] if as_json else [one_line]),
    ]


def _renderer(as_json: bool) -> Processor:
    if as_json:
        # json.dumps escapes control characters itself, and everything outside ASCII with them.
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(timestamp_key="time", colors=sys.stderr.isatty())


def _take_over_stdlib(before: list[Processor], render: Processor, level: int) -> None:
    handler = _StderrHandler()
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *before],
            processors=[ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries tell too much at debug and info: whole requests, sometimes with their credentials.
    root.setLevel(max(level, logging.WARNING))


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what sys.stderr is at that moment: whoever captures it may replace it after `configure`."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        """StreamHandler sets it once; there is nothing to keep."""


@functools.lru_cache(maxsize=1024)
def _is_telling(key: str) -> bool:
    """Whether values under this name are hidden; the names are ours and few."""
    name = key.lower().replace("-", "_")
    return name in _TELLING or name.endswith(_TELLING_ENDINGS)


def _redacted(key: str, value: object) -> Any:
    if isinstance(value, SecretText):
        return REDACTED
    if value is not None and _is_telling(key):
        return REDACTED
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, Mapping):
        return {str(inner): _redacted(str(inner), each) for inner, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted("", each) for each in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return scrub(str(value))


def _escape(match: "re.Match[str]") -> str:
    return match[0].encode("unicode_escape").decode("ascii")


__all__ = [
    "bind_contextvars",
    "bound_contextvars",
    "clear_contextvars",
    "configure",
    "get_logger",
    "neutralise",
    "redact",
    "scrub",
]
