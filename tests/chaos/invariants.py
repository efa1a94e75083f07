"""The invariants of the design (I1 to I9) over everything that the database holds about messages."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from tests.chaos.pair import dump_of
from tests.chaos.world import World


async def hold(world: World) -> None:
    """PostgreSQL and the model agree, and no promise is broken."""
    found = await world.dump()
    agree(found, dump_of(world.model))
    for message_id, kept in found.items():
        row = world.model.messages[message_id].row
        if row is not None:  # they round differently, which must not add up
            row.due_at = kept["queue"][0]
    keys = {place: (bound.fingerprint, bound.message_id) for place, bound in world.model.keys.items()}
    assert await world.database.keys() == keys, "I8: a key stands for something else"
    for message_id, kept in found.items():
        check(kept, world.taken(message_id), world.doubles_allowed(message_id))
    assert world.acknowledged <= set(found), "I1: an acknowledged message is gone"
    assert not world.sins, world.sins


def agree(found: dict[UUID, Any], expected: dict[UUID, Any]) -> None:
    """PostgreSQL and the model say the same about every message."""
    assert found.keys() == expected.keys()
    for message_id, kept in found.items():
        other = expected[message_id]
        for name in ("project", "completion", "duplicates", "attempts", "evidence", "generation"):
            assert kept[name] == other[name], f"{name}: PostgreSQL has {kept[name]}, the model {other[name]}"
        assert [sequence for sequence, _ in kept["events"]] == other["events"]
        assert (kept["queue"] is None) == (other["queue"] is None)
        if kept["queue"]:
            assert abs(kept["queue"][0] - other["queue"][0]) < timedelta(milliseconds=1)
            assert kept["queue"][1:] == other["queue"][1:]


def check(kept: dict[str, Any], taken: list[int], doubles_allowed: set[int]) -> None:
    """The invariants of one message."""
    attempts = kept["attempts"]
    ended = kept["completion"] and not kept["generation"].retrying
    assert kept["queue"] or ended, "I2: it has no end and nobody will look at it"
    assert sum(told is None for *_, told, _, _ in attempts) <= 1, "I3: two open attempts"
    assert set(taken) <= {attempt[0] for attempt in attempts}, "I4: a provider was called before the record"
    assert len(taken) == len(set(taken)), "I5: one attempt reached a provider twice"
    assert set(sorted(taken)[:-1]) <= doubles_allowed, f"I5: accepted in {taken}, explained are {doubles_allowed}"
    firsts = list(dict.fromkeys(attempt[3] for attempt in attempts))
    assert firsts == sorted(firsts), "I6: providers were tried out of order"
    assert [sequence for sequence, _ in kept["events"]] == list(range(1, len(kept["events"]) + 1)), "I7: a gap"
