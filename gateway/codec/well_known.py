"""The well-known types that have a JSON form of their own (ProtoJSON): in both directions, one entry each. No walk over
fields.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf import duration_pb2, field_mask_pb2, struct_pb2, timestamp_pb2

from gateway.codec.scalars import Wrong, shown, text

Report = Callable[[str, str], None]
Read = Callable[[Any, Any, str, Report], None]
Write = Callable[[Any], Any]

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)")
_SECONDS = re.compile(r"-?\d{1,12}(\.\d{1,9})?s")
_MASK_PATH = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*(\.[a-zA-Z][a-zA-Z0-9_]*)*")


def read_timestamp(into: timestamp_pb2.Timestamp, value: Any, path: str, report: Report) -> None:
    """RFC 3339 with an offset, years 0001 to 9999, at most nanoseconds."""
    try:
        if not isinstance(value, str) or not _TIME.fullmatch(value):
            raise ValueError
        into.FromJsonString(value)
    except (ValueError, OverflowError):
        report(path, "must be a time such as 2024-01-01T10:00:00Z (RFC 3339)")


def read_duration(into: duration_pb2.Duration, value: Any, path: str, report: Report) -> None:
    """Seconds with the suffix `s`, at most nine digits after the point."""
    try:
        if not isinstance(value, str) or not _SECONDS.fullmatch(value):
            raise ValueError
        into.FromJsonString(value)
    except ValueError:
        report(path, 'must be a duration in seconds such as "90s" or "1.5s"')


def read_mask(into: field_mask_pb2.FieldMask, value: Any, path: str, report: Report) -> None:
    """Names separated by commas, in camelCase or as in the proto."""
    names = value.split(",") if isinstance(value, str) and value else []
    if not isinstance(value, str) or not all(_MASK_PATH.fullmatch(name) for name in names):
        report(path, 'must be field names separated by commas, such as "name,config"')
        return
    into.paths.extend(snake(name) for name in names)


def snake(name: str) -> str:
    """camelCase as the proto writes it."""
    return re.sub(r"([A-Z])", lambda found: "_" + found[1].lower(), name)


def read_struct(into: struct_pb2.Struct, value: Any, path: str, report: Report) -> None:
    """Any JSON object; null members stay null."""
    if not isinstance(value, dict):
        report(path, f"must be an object, not {shown(value)}")
        return
    for name in getattr(value, "names", ()):
        report(f"{path}.{name}", "stands more than once")
    into.SetInParent()
    for name, inner in value.items():
        try:
            text(name)
        except Wrong as wrong:
            report(path, f"has a member name that {wrong}")
            continue
        read_value(into.fields[name], inner, f"{path}.{name}", report)


def read_list(into: struct_pb2.ListValue, value: Any, path: str, report: Report) -> None:
    """Any JSON list."""
    if not isinstance(value, list):
        report(path, f"must be a list, not {shown(value)}")
        return
    into.SetInParent()
    for index, inner in enumerate(value):
        read_value(into.values.add(), inner, f"{path}[{index}]", report)


def read_value(into: struct_pb2.Value, value: Any, path: str, report: Report) -> None:
    """Any JSON value. Numbers are doubles: beyond 2^53 whole ones lose digits, and what no double can hold is
    refused.
    """
    try:
        if value is None:
            into.null_value = struct_pb2.NULL_VALUE
        elif isinstance(value, bool):
            into.bool_value = value
        elif isinstance(value, int | float):
            into.number_value = _double(value)
        elif isinstance(value, str):
            into.string_value = text(value)
        elif isinstance(value, dict):
            read_struct(into.struct_value, value, path, report)
        else:
            read_list(into.list_value, value, path, report)
    except Wrong as wrong:
        report(path, str(wrong))


def _double(value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Wrong("is out of range")
    return number


def _write_struct(value: struct_pb2.Struct) -> dict[str, Any]:
    # A proto map keeps no order; sorted, the same settings read the same in every answer.
    return {name: _write_value(value.fields[name]) for name in sorted(value.fields)}


def _write_value(value: struct_pb2.Value) -> Any:
    match value.WhichOneof("kind"):
        case "bool_value":
            return value.bool_value
        case "number_value":
            return _write_number(value.number_value)
        case "string_value":
            return value.string_value
        case "struct_value":
            return _write_struct(value.struct_value)
        case "list_value":
            return [_write_value(inner) for inner in value.list_value.values]
        case _:
            return None


def _write_number(number: float) -> int | float | None:
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _write_text(value: Any) -> str:
    written: str = value.ToJsonString()
    return written


READ: Mapping[str, Read] = {
    "google.protobuf.Timestamp": read_timestamp,
    "google.protobuf.Duration": read_duration,
    "google.protobuf.FieldMask": read_mask,
    "google.protobuf.Struct": read_struct,
    "google.protobuf.ListValue": read_list,
    "google.protobuf.Value": read_value,
}

WRITE: Mapping[str, Write] = {
    "google.protobuf.Timestamp": _write_text,
    "google.protobuf.Duration": _write_text,
    "google.protobuf.FieldMask": _write_text,
    "google.protobuf.Struct": _write_struct,
    "google.protobuf.ListValue": lambda value: [_write_value(inner) for inner in value.values],
    "google.protobuf.Value": _write_value,
}


def dumps(value: Any) -> bytes:
    """JSON text on one line, UTF-8, as every answer of the gateway is written."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
