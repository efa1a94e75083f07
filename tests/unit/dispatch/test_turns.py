"""How the places of a process are shared between projects."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatch.turns import Places, Turns, room


@pytest.mark.parametrize(
    ("held", "free", "total", "expected"),
    [
        (0, 1000, 1000, 800),
        (800, 200, 1000, 0),
        (799, 201, 1000, 1),
        (0, 200, 1000, 89),
        (0, 100, 1000, 10),
        (3, 100, 1000, 7),
        (10, 100, 1000, 0),
        (0, 4, 1000, 4),
        (0, 0, 1000, 0),
        (5, 0, 1000, 0),
        (0, 10, 10, 8),
        (8, 2, 10, 0),
        (0, 2, 2, 1),
        (1, 1, 2, 0),
        (0, 1, 2, 1),
        (0, 1, 1, 1),
    ],
)
def test_how_many_places_a_project_may_take(held: int, free: int, total: int, expected: int) -> None:
    """Eight ninths of what is shared for one alone, less for each that is busy, and of the rest only a little."""
    assert room(held, free, total) == expected


@given(st.integers(1, 3000), st.lists(st.integers(1, 9), max_size=300))
def test_whoever_has_nothing_finds_a_place(total: int, order: list[int]) -> None:
    """However nine projects grab, no place is given twice, and a tenth project finds one of a hundred or more."""
    places = Places(total)
    for number in order:
        turns = places.keep(200, 1000)
        most = min(turns.limit, turns.rooms.get(str(number), turns.limit))
        places.settle(turns, [str(number)] * most)

    assert places.taken <= total
    if total >= 100:
        assert places.take("new")


def test_places_come_back() -> None:
    """What a claim did not bring is free again, and so is what was given back."""
    places = Places(10)
    turns = places.keep(200, 1000)
    assert (turns.limit, places.taken) == (8, 8)
    places.settle(turns, ["a", "a", "b"])
    assert places.taken == 3
    places.give_back("a")
    again = places.keep(200, 1000)

    assert again.held == {"a": 1, "b": 1}
    assert again.rooms == {"a": 7, "b": 7}


@pytest.mark.parametrize(
    ("brought", "used_up"),
    [
        ([], False),
        ([("a", 10)], False),
        ([("a", 10), ("b", 10), ("c", 10)], True),  # as many as it might
        ([("a", 100)], True),  # as many bytes
        ([("b", 10), ("b", 10)], True),  # as many of one project
    ],
)
def test_whether_more_room_would_have_brought_more(brought: list[tuple[str, int]], used_up: bool) -> None:
    """A claim that stayed below each of its bounds has found everything that was due."""
    turns = Turns(limit=3, max_bytes=100, held={"b": 5}, rooms={"b": 2})
    assert turns.used_up_by(brought) is used_up


def test_a_project_without_room_uses_a_claim_up() -> None:
    """It may have something due that was not looked for."""
    assert Turns(limit=3, held={"b": 5}, rooms={"b": 0}).used_up_by([])
