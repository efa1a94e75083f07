"""A CSV file as a list of recipients: pure. Line by line, so that one wrong line says so and keeps no other from being
taken. Nothing is written here.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from services.adapters.base import Channel
from services.dispatch.content import Findings
from services.dispatch.suppression import Cause, Suppression, entry_of

MAX_BYTES = 1024 * 1024
MAX_LINES = 10_000
# What the first column is called by those whose exports have a header.
_RECIPIENT = ("recipient", "email", "address", "phone", "number", "to")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line with a recipient: where it stands in the file, from 1, and what it asks for or what is wrong with it."""

    number: int
    entry: Suppression | None = None
    problem: str = ""


class Unreadable(ValueError):
    """The file as a whole is no CSV that could be taken."""


def lines_of(text: str, *, project_id: str, channel: Channel | None) -> tuple[Line, ...]:
    """Every line that is not empty. Columns under a header: `recipient` (or email, phone, …), `channel` and `reason`;
    without one: the recipient alone. `channel` is for lines that do not say. Raises Unreadable.
    """
    reader = csv.reader(text.removeprefix("\ufeff").splitlines(), strict=True)
    columns: Mapping[str, int] | None = None
    found = []
    try:
        for cells in reader:
            row = [cell.strip() for cell in cells]
            if not any(row):
                continue
            if columns is None:
                columns = _header(row)
                if columns:
                    continue
                columns = {"recipient": 0}
            found.append(_line(reader.line_num, row, columns, project_id, channel))
            if len(found) > MAX_LINES:
                raise Unreadable(f"must have at most {MAX_LINES} lines with a recipient")
    except csv.Error as error:
        raise Unreadable(f"is no CSV: line {reader.line_num}: {error}") from None
    return tuple(found)


def _header(row: list[str]) -> dict[str, int]:
    """Which column is which; empty when the first line is no header."""
    names = [cell.casefold() for cell in row]
    recipient = next((name for name in _RECIPIENT if name in names), None)
    if recipient is None:
        return {}
    return {"recipient": names.index(recipient)} | {
        name: names.index(name) for name in ("channel", "reason") if name in names
    }


def _line(number: int, row: list[str], columns: Mapping[str, int], project_id: str, channel: Channel | None) -> Line:
    said = {name: row[place] for name, place in columns.items() if place < len(row)}
    problems = list(_wrong_words(said))
    its_channel = Channel(said["channel"].upper()) if said.get("channel") and not problems else channel
    if its_channel is None and not problems:
        problems.append("channel: is required: EMAIL or SMS")
    if problems or its_channel is None:
        return Line(number=number, problem="; ".join(problems))
    findings = Findings("")
    recipient = entry_of(its_channel, said.get("recipient", ""), "recipient", findings)
    if recipient is None:
        return Line(number=number, problem="; ".join(f"{v.field}: {v.description}" for v in findings.violations))
    reason = Cause(said["reason"].upper()) if said.get("reason") else Cause.MANUAL
    return Line(
        number=number,
        entry=Suppression(project_id=project_id, channel=its_channel, recipient=recipient, reason=reason),
    )


def _wrong_words(said: Mapping[str, str]) -> Iterator[str]:
    if said.get("channel") and said["channel"].upper() not in set(Channel):
        yield "channel: must be EMAIL or SMS"
    if said.get("reason") and said["reason"].upper() not in set(Cause):
        yield f"reason: must be one of {' '.join(Cause)}"
