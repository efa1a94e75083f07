"""The delivery log's arithmetic: documented statuses, places of pages, moments in ids."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from services.dispatch.delivery_log import (
    STATES,
    Filter,
    Found,
    Page,
    Status,
    first_id_at,
    place_of,
    status_of,
)
from services.dispatch.message import State, StateCode, new_message_id

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
# Design §5: the documented statuses.
DOCUMENTED = {
    State.SENT: "sent",
    State.UNKNOWN: "sent",
    State.DELIVERED: "delivered",
    State.UNDELIVERED: "bounced",
    State.FAILED: "failed",
    State.EXPIRED: "failed",
    State.CANCELED: "failed",
}


@pytest.mark.parametrize("state", DOCUMENTED)
def test_every_final_state_has_its_documented_status(state: State) -> None:
    """A state is shown as documented, and the filter for that status asks for it."""
    status = status_of(StateCode[state], "")

    assert status == DOCUMENTED[state]
    assert StateCode[state] in STATES[status]


def test_a_dispatch_that_goes_on_is_pending() -> None:
    """No end is `pending`."""
    assert (status_of(0, ""), STATES[Status.PENDING]) == (Status.PENDING, (0,))


@pytest.mark.parametrize("reason", ["REJECTED", "RECIPIENT_SUPPRESSED"])
def test_refused_is_not_failed(reason: str) -> None:
    """FAILED because no provider would take it is `rejected`."""
    assert status_of(StateCode.FAILED, reason) == Status.REJECTED


@pytest.mark.parametrize(
    ("page", "ids", "total", "said"),
    [
        (Page(), 0, 0, (0, 0, False, False)),
        (Page(limit=50), 51, 100, (100, 2, True, False)),
        (Page(number=2, limit=50), 50, 100, (100, 2, False, True)),
        (Page(number=3, limit=50), 0, 100, (100, 2, False, True)),
        (Page(number=9, limit=50), 0, 100, (100, 2, False, False)),
        (Page(number=4, limit=10), 11, 30, (41, 5, True, True)),  # an estimate that was too low
    ],
)
def test_where_a_page_stands(page: Page, ids: int, total: int, said: tuple[int, int, bool, bool]) -> None:
    """Totals, pages and neighbours fit what is on the page, also when the total was an estimate."""
    place = place_of(page, Found(ids=tuple(UUID(int=n) for n in range(ids)), total=total))

    assert (place.total, place.pages, place.has_next, place.has_previous) == said


def test_an_id_is_not_before_its_moment() -> None:
    """Whatever is random in an id, it lies between its millisecond's lowest id and the next one's."""
    made = [new_message_id(NOON, lambda _: 0), new_message_id(NOON, lambda count: (1 << count) - 1)]

    assert first_id_at(NOON) <= min(made)
    assert max(made) < first_id_at(NOON + timedelta(milliseconds=1))


def test_the_span_of_a_filter_has_room_for_clocks() -> None:
    """Messages of the moments asked for are in the span though their ids were made somewhat earlier or later."""
    low, high = Filter(project_id="p", after=NOON, before=NOON + timedelta(hours=1)).span

    assert low < first_id_at(NOON - timedelta(seconds=50))
    assert high > first_id_at(NOON + timedelta(hours=1, seconds=50))


def test_the_first_and_the_last_moment_may_be_asked_for() -> None:
    """From the beginning of time to its end is everything: the room for clocks does not leave the calendar."""
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)

    low, high = Filter(project_id="p", after=first, before=last).span

    assert low == UUID(int=0)
    assert high > first_id_at(NOON)
