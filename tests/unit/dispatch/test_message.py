"""Messages as values: ids that sort and carry a shard, the contract's states, a repr that tells nothing."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from messagepipe.dispatch.v1 import message_pb2

from services.adapters.base import Address
from services.dispatch.message import SHARDS, State, StateCode, new_message_id, shard_of
from tests.builders import NOON, a_message, an_email, an_sms


def test_every_state_has_the_contracts_number() -> None:
    """State, StateCode and Message.State have the same words; the codes are the numbers of the contract."""
    contract = {
        name.removeprefix("STATE_"): number
        for name, number in message_pb2.Message.State.items()
        if name != "STATE_UNSPECIFIED"
    }

    assert {code.name: int(code) for code in StateCode} == contract
    assert [state.value for state in State] == [code.name for code in StateCode]


def test_an_id_is_a_uuid_of_version_7() -> None:
    """RFC 9562 §5.7: 48 bits of Unix milliseconds, version 7, variant 10, the rest random."""
    made = new_message_id(NOON, random_bits=lambda count: (1 << count) - 1)

    assert (made.version, made.variant) == (7, UUID(int=0x8000 << 48).variant)
    assert made.int >> 80 == int(NOON.timestamp() * 1000)
    assert made.int & ((1 << 62) - 1) == (1 << 62) - 1


def test_ids_sort_by_time() -> None:
    """A later millisecond sorts later whatever the random bits are."""
    early = new_message_id(NOON, random_bits=lambda count: (1 << count) - 1)
    late = new_message_id(NOON + timedelta(milliseconds=1), random_bits=lambda _: 0)

    assert early < late


def test_every_bit_that_may_vary_varies() -> None:
    """74 bits are drawn: of many ids of one millisecond none repeats, and each of these bits is sometimes 0 and
    sometimes 1.
    """
    ids = [new_message_id(NOON) for _ in range(1000)]
    either, both = 0, (1 << 128) - 1
    for each in ids:
        either, both = either | each.int, both & each.int

    assert len(set(ids)) == 1000
    assert (either ^ both).bit_count() == 74


def test_the_shard_is_the_last_ten_bits() -> None:
    """The shard is 0 to 1023 and comes from random bits, so messages spread."""
    assert shard_of(UUID(int=SHARDS - 1)) == 1023
    assert shard_of(UUID(int=SHARDS)) == 0
    assert len({shard_of(new_message_id(datetime(2026, 1, 1, tzinfo=UTC))) for _ in range(200)}) > 100


def test_a_message_names_its_recipient() -> None:
    """The recipient is the address without its name, or the number."""
    assert a_message(content=an_email(to=Address(email="ada@example.com", name="Ada"))).recipient == "ada@example.com"
    assert a_message(content=an_sms(to="+14155550100")).recipient == "+14155550100"


def test_a_repr_tells_the_id_only() -> None:
    """Neither recipient nor content stand in the repr of a message."""
    assert repr(a_message()) == f"Message({a_message().id})"
