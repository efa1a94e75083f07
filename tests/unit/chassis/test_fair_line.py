"""A line in which lanes take turns."""

from services.chassis.fair_line import FairLine


def test_lanes_take_turns() -> None:
    """Whoever stands in another lane waits for one item of each lane, not for all that came before."""
    line: FairLine[str] = FairLine()
    for item in ("a1", "a2", "a3", "b1", "c1", "c2"):
        line.append(item, item[0])

    assert (len(line), line.first, line.first_of("c"), line.first_of("d")) == (6, "a1", "c1", None)
    assert [line.popleft() for _ in range(4)] == ["a1", "b1", "c1", "a2"]
    line.append("b2", "b")
    assert [line.popleft() for _ in range(3)] == ["c2", "a3", "b2"]
    assert not line


def test_one_lane_is_first_in_first_out() -> None:
    """Without lanes the order is kept."""
    line: FairLine[int] = FairLine()
    for item in range(5):
        line.append(item)

    assert [line.popleft() for _ in range(5)] == [0, 1, 2, 3, 4]
