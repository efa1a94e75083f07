"""GetAnalytics between the contract and the roll-ups: what is asked for, and how sums are shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from messagepipe.dispatch.v1 import log_service_pb2 as pb

from services.adapters.base import Channel
from services.chassis.auth import Principal
from services.chassis.errors import FieldViolation, InvalidArgument
from services.dispatch.convert import CHANNELS, timestamp
from services.dispatch.intake import project_of
from services.dispatch.log_requests import LATER_TYPES, TYPES, check_text, check_type, moment
from services.dispatch.rollup import BUCKETS, Count, Interval, percentile, start_of

DEFAULT_SPAN = {Interval.HOUR: timedelta(days=1), Interval.DAY: timedelta(days=30)}
LONGEST_SPAN = {Interval.HOUR: timedelta(days=31), Interval.DAY: timedelta(days=400)}
TOO_MUCH = FieldViolation("since", "asks for too many sums at once: ask for less time, one provider, or days")
_SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which sums are asked for: those that start in [since, until)."""

    project_id: str
    interval: Interval
    since: datetime
    until: datetime
    channel: Channel | None
    provider: str
    nothing: bool


def wanted(request: pb.GetAnalyticsRequest, caller: Principal, now: datetime) -> Wanted:
    """What a request asks for; InvalidArgument with everything that is wrong, ProjectNotFound for somebody else's."""
    project = project_of(request.project_id, caller, "projectId")
    violations = [project] if isinstance(project, FieldViolation) else []
    check_type(request.message_type, violations)
    check_text("provider", request.provider, violations)
    if request.interval and request.interval not in list(Interval):
        violations.append(FieldViolation("interval", f"must be one of {', '.join(Interval)}"))
    interval = Interval(request.interval) if request.interval in list(Interval) else Interval.HOUR
    until = moment(request, "until", violations) or now
    since = moment(request, "since", violations) or _back(until, DEFAULT_SPAN[interval])
    if since >= until:
        violations.append(FieldViolation("since", "must be before until"))
    if until - since > LONGEST_SPAN[interval]:
        violations.append(FieldViolation("since", f"must be at most {LONGEST_SPAN[interval].days} days before until"))
    if violations or isinstance(project, FieldViolation):
        raise InvalidArgument(violations=violations)
    return Wanted(
        project_id=project,
        interval=interval,
        since=start_of(since, interval),
        until=until,
        channel={word: channel for channel, word in TYPES.items()}.get(request.message_type),
        provider=request.provider,
        nothing=request.message_type in LATER_TYPES,
    )


_BEGINNING = datetime.min.replace(tzinfo=UTC)


def _back(moment: datetime, span: timedelta) -> datetime:
    """So much earlier, at most until time begins."""
    return moment - min(span, moment - _BEGINNING)


def answer(asked: Wanted, rows: Sequence[Mapping[str, Any]], counted_at: datetime | None) -> pb.Analytics:
    """The sums as they are documented, and their sum."""
    return pb.Analytics(
        project_id=asked.project_id,
        interval=asked.interval,
        since=timestamp(asked.since),
        until=timestamp(asked.until),
        counted_at=timestamp(counted_at),
        data=[_row(row) for row in rows],
        total=_counts(rows),
    )


def _row(row: Mapping[str, Any]) -> pb.AnalyticsRow:
    return pb.AnalyticsRow(
        start=timestamp(row["start"]),
        message_type=TYPES[CHANNELS[row["channel"]]],
        kind=row["kind"] or None,
        provider_id=row["provider_id"] or None,
        counts=_counts([row]),
    )


def _counts(rows: Sequence[Mapping[str, Any]]) -> pb.AnalyticsCounts:
    histogram = [sum(numbers) for numbers in zip(*(row["latencies"] for row in rows), strict=True)] or [0] * BUCKETS
    counts = pb.AnalyticsCounts(
        **{count.value: sum(row[count.value] for row in rows) for count in Count}, attempts=sum(histogram)
    )
    for name, share in _SHARES.items():
        if (seconds := percentile(histogram, share)) is not None:
            setattr(counts.latency, name, round(seconds * 1000, 3))
    return counts
