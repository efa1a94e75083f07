"""Settings from the environment: the only reader of `os.environ`. The settings themselves are each process's own.

A settings class is a frozen dataclass; field `http_port` is read from MESSAGEPIPE_HTTP_PORT. A field whose type is
itself a dataclass is read from the same flat names. An empty value counts as not set.
"""

import dataclasses
import math
import os
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn, TypeVar, Union
from urllib.parse import urlsplit

PREFIX = "MESSAGEPIPE_"

T = TypeVar("T")


class SettingsError(Exception):
    """The settings are wrong; `problems` holds every problem, one plain line each, and no value of a secret."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems: tuple[str, ...] = tuple(problems)
        super().__init__("\n".join(self.problems))


class SecretText:
    """A text that prints as `***` everywhere; only `reveal()` gives it out."""

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """The text itself; call it only where it goes into a signature or onto a wire."""
        return self.__text

    def __repr__(self) -> str:
        return "***"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def __bool__(self) -> bool:
        return bool(self.__text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretText) and self.__text == other.__text

    def __hash__(self) -> int:
        return hash((SecretText, self.__text))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SecretText cannot be pickled or copied out")

    def __copy__(self) -> "SecretText":
        return self

    def __deepcopy__(self, memo: object) -> "SecretText":
        return self


def leave_forks_alone() -> None:
    """For processes that speak gRPC and start others, before gRPC is loaded: its core has handlers that run in every
    fork and start its threads again in the child, which dies of that now and then, before it becomes the program.
    """
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")


def process_environ() -> Mapping[str, str]:
    """A snapshot of this process's environment."""
    return dict(os.environ)


def load(cls: type[T], environ: Mapping[str, str]) -> T:
    """`cls` built from MESSAGEPIPE_*; or SettingsError naming every bad and every missing variable at once."""
    problems: list[str] = []
    settings = _load(cls, environ, problems)
    if settings is None or problems:
        raise SettingsError(problems)
    return settings


def check_names(environ: Mapping[str, str], known: Iterable[type]) -> None:
    """Raises SettingsError with a "did you mean" for every MESSAGEPIPE_* name that no class in `known` reads."""
    names = {name for cls in known for name in variable_names(cls)}
    unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in names)
    if unknown:
        raise SettingsError(_unknown(name, names) for name in unknown)


def variable_names(cls: type) -> Iterator[str]:
    """Every variable `cls` is read from, nested classes included."""
    for field, declared in _fields(cls):
        if dataclasses.is_dataclass(declared):
            yield from variable_names(typing.cast(type, declared))
        else:
            yield _variable(field)


def _load(cls: type[T], environ: Mapping[str, str], problems: list[str]) -> T | None:
    before = len(problems)
    values: dict[str, Any] = {}
    for field, declared in _fields(cls):
        if dataclasses.is_dataclass(declared):
            values[field.name] = _load(typing.cast(type[Any], declared), environ, problems)
        elif raw := environ.get(_variable(field), ""):
            _read(field, declared, raw, values, problems)
        elif not _has_default(field):
            problems.append(f"{_variable(field)} is required and not set")
    if len(problems) > before:
        return None
    try:
        return cls(**values)
    except SettingsError as error:  # a class may check its values against each other in __post_init__
        problems.extend(error.problems)
    except ValueError as error:
        problems.append(str(error))
    return None


def _read(
    field: "dataclasses.Field[Any]", declared: Any, raw: str, values: dict[str, Any], problems: list[str]
) -> None:
    name = _variable(field)
    try:
        values[field.name] = _parse(declared, raw)
    except ValueError as error:
        shown = "***" if _is_secret(declared) else repr(raw[:80])
        problems.append(f"{name}={shown} is wrong: {error}")


def _fields(cls: type) -> list[tuple["dataclasses.Field[Any]", Any]]:
    hints = typing.get_type_hints(cls)
    return [(field, hints[field.name]) for field in dataclasses.fields(cls) if field.init]


def _variable(field: "dataclasses.Field[Any]") -> str:
    return PREFIX + field.name.upper()


def _has_default(field: "dataclasses.Field[Any]") -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _is_secret(declared: Any) -> bool:
    return SecretText in (declared, *typing.get_args(declared))


def _parse(declared: Any, raw: str) -> Any:
    if typing.get_origin(declared) in (Union, types.UnionType):
        (inner,) = (each for each in typing.get_args(declared) if each is not type(None))
        return _parse(inner, raw)
    if typing.get_origin(declared) is tuple:
        return tuple(part for part in (piece.strip() for piece in raw.split(",")) if part)
    return _PARSERS[declared](raw)


def _int(raw: str) -> int:
    try:
        return int(raw.strip())
    except ValueError:
        raise ValueError("a whole number is needed, such as 8080") from None


def _float(raw: str) -> float:
    try:
        number = float(raw.strip())
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("a number is needed, such as 2.5")
    return number


def _bool(raw: str) -> bool:
    word = raw.strip().lower()
    if word in ("true", "1", "yes", "on"):
        return True
    if word in ("false", "0", "no", "off"):
        return False
    raise ValueError("write true or false")


_PARSERS: dict[Any, Callable[[str], Any]] = {
    str: str,
    int: _int,
    float: _float,
    bool: _bool,
    Path: Path,
    SecretText: SecretText,
}


def _unknown(name: str, names: set[str]) -> str:
    words = sorted(each.removeprefix(PREFIX) for each in names)
    close = get_close_matches(name.removeprefix(PREFIX), words, n=1, cutoff=0.6)
    hint = f"; did you mean {PREFIX}{close[0]}?" if close else "; remove it, nothing reads it"
    return f"{name} is not a setting of messagepipe{hint}"


def is_base_url(text: str) -> bool:
    """Whether this is an http:// or https:// address that a path can be put behind."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises ValueError for a port that is none
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query and not parts.fragment
