"""Which messages a worker takes, keeps and gives back, with the store and the delivery handed in."""

import asyncio
from uuid import UUID

import pytest
from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent

from services.dispatch.attempt import Attempt
from services.dispatch.message import State
from services.dispatch.ports import Lease
from services.dispatch.worker import CLAIM_BATCH
from tests.builders import NOON, PROJECT, a_history, a_message, a_spec, an_attempt, seconds
from tests.unit.dispatch.shop import LEASE, SAFE, SIZE, Shop, a_claim, until


async def claiming(shop: Shop) -> "asyncio.Task[None]":
    """The worker, claiming."""
    task = asyncio.create_task(shop.worker.claim_forever())
    await asyncio.sleep(0)
    return task


async def test_what_is_due_is_delivered(shop: Shop) -> None:
    """A claim becomes a lease with its epoch, its history and its place in the events."""
    attempts = a_history(("A", "deferred"))
    shop.queue.due = [a_claim(attempts=attempts, last_sequence=4)]
    task = await claiming(shop)
    await until(lambda: shop.deliveries.leases)
    task.cancel()

    (lease,) = shop.deliveries.leases
    assert (lease.id, lease.epoch, lease.history, lease.last_sequence) == (UUID(int=1), 2, attempts, 4)
    assert lease.message.deadline == NOON + seconds(3600)
    assert shop.database_clock.now() == NOON
    assert shop.worker.in_flight == 1


@pytest.mark.parametrize(
    ("attempts", "waited"),
    [((), False), (a_history(("A", "deferred")), True), ((an_attempt("A", None),), False)],
    ids=["never tried", "put off", "cut off in an attempt"],
)
async def test_a_claimed_message_has_waited_when_its_last_attempt_is_closed(
    shop: Shop, attempts: tuple[Attempt, ...], waited: bool
) -> None:
    """A message that was put off after an attempt has waited when it is claimed; a fresh or a rescued one has not."""
    shop.queue.due = [a_claim(attempts=attempts)]
    task = await claiming(shop)
    await until(lambda: shop.deliveries.leases)
    task.cancel()

    assert shop.deliveries.leases[0].waited is waited


async def test_never_more_than_there_are_places() -> None:
    """`max_in_flight` bounds claims and acceptances together; a place that comes free is used."""
    shop = Shop(places=2)
    shop.queue.due = [a_claim(number) for number in range(1, 4)]
    assert shop.worker.reserve("other", SIZE)
    task = await claiming(shop)
    await until(lambda: shop.deliveries.leases)
    assert not shop.worker.reserve("third", SIZE)
    assert shop.queue.limits == [1]
    shop.worker.release_place("other", SIZE)
    await until(lambda: len(shop.deliveries.leases) == 2)
    shop.deliveries.go.set()
    await until(lambda: len(shop.deliveries.leases) == 3 and not shop.worker.in_flight)
    task.cancel()

    assert max(shop.queue.limits) <= 2
    assert [shop.worker.reserve(project, SIZE) for project in "abc"] == [True, True, False]


async def test_a_claim_asks_for_a_batch_at_most() -> None:
    """However many places are free, one claim takes at most a batch."""
    shop = Shop(places=CLAIM_BATCH * 3)
    task = await claiming(shop)
    await until(lambda: shop.queue.limits)
    task.cancel()

    assert shop.queue.limits[0] == CLAIM_BATCH


async def test_what_waits_to_be_written_is_not_added_to(shop: Shop) -> None:
    """While a batch of steps waits to be written, nothing is claimed; afterwards it goes on."""
    shop.queue.due = [a_claim()]
    shop.queue.settling = CLAIM_BATCH
    task = await claiming(shop)
    await asyncio.sleep(0.1)
    assert not shop.queue.limits
    shop.queue.settling = CLAIM_BATCH - 3
    await until(lambda: shop.deliveries.leases)
    task.cancel()

    assert shop.queue.limits[0] == 3


async def test_claiming_outlives_the_database(shop: Shop) -> None:
    """While the database is away the worker goes on asking, and no place is lost."""
    shop.queue.away = True
    task = await claiming(shop)
    await asyncio.sleep(0.1)
    assert not task.done()
    shop.queue.away = False
    shop.queue.due = [a_claim()]
    await until(lambda: shop.deliveries.leases)
    task.cancel()

    assert set(shop.queue.limits) == {8}


async def test_a_bug_in_one_delivery_stops_no_other(shop: Shop) -> None:
    """A delivery that raises gives its place back, and the worker goes on."""
    shop.deliveries.error = RuntimeError("a bug")
    shop.deliveries.go.set()
    shop.queue.due = [a_claim(1), a_claim(2)]
    task = await claiming(shop)
    await until(lambda: len(shop.deliveries.leases) == 2 and not shop.worker.in_flight)

    assert not task.done()
    task.cancel()
    assert [shop.worker.reserve(project, SIZE) for project in "abcdefghijk"] == [True] * 10 + [False]


async def test_one_project_leaves_a_place_to_others(shop: Shop) -> None:
    """A project alone gets eight of ten places, by acceptances and claims alike; the others are for others."""
    shop.queue.due = [a_claim(number) for number in range(1, 20)]
    task = await claiming(shop)
    await until(lambda: shop.deliveries.leases)
    task.cancel()

    assert len(shop.deliveries.leases) == 8
    assert not shop.worker.reserve(PROJECT, SIZE)
    assert shop.worker.reserve("other", SIZE)


async def test_a_message_that_waits_is_asked_for_when_its_time_comes() -> None:
    """A delivery that says when its message is due again wakes the worker then, however long the next poll is away."""
    shop = Shop(jitter=10_000)
    shop.deliveries.answer = 0.05
    shop.queue.due = [a_claim()]
    task = await claiming(shop)
    await until(lambda: shop.deliveries.leases)
    shop.deliveries.go.set()
    await until(lambda: not shop.worker.in_flight)
    shop.queue.due = [a_claim(2)]
    await until(lambda: len(shop.deliveries.leases) == 2)
    task.cancel()


async def test_a_stored_message_that_is_refused_today_ends_visibly(shop: Shop) -> None:
    """A stored message that today's rules refuse is FAILED with the violations instead of coming back for ever."""
    refused = a_spec(to="nobody").SerializeToString()
    shop.queue.due = [a_claim(spec=refused, last_sequence=3)]
    task = await claiming(shop)
    await until(lambda: shop.queue.applied)
    await until(lambda: len(shop.queue.limits) > 1)
    task.cancel()

    (step,) = shop.queue.applied
    told = DeliveryEvent.FromString(step.events[0].payload).completed
    assert step.completes is not None
    assert (step.epoch, step.events[0].sequence, step.completes.state) == (2, 4, State.FAILED)
    assert "message.to" in told.detail
    assert not shop.deliveries.leases
    assert shop.queue.limits[-1] == 8


async def test_leases_are_known_and_renewed_in_one_statement(shop: Shop) -> None:
    """A call may last until 5 s before the end of a lease of 30 s; thrice per lease all are renewed in one statement,
    and only ours get longer.
    """
    for number in (1, 2):
        assert shop.worker.reserve(PROJECT, SIZE)
        shop.worker.start(Lease(message=a_message(id=UUID(int=number)), epoch=number), since=0.0, size=SIZE)
    renewing = asyncio.create_task(shop.worker.renew_forever())
    await asyncio.sleep(0)
    shop.queue.lost = {UUID(int=2)}
    shop.clock.advance(LEASE / 3)
    await until(lambda: shop.queue.renewed)
    await asyncio.sleep(0)
    renewing.cancel()

    assert shop.queue.renewed == [{UUID(int=1): 1, UUID(int=2): 2}]
    assert shop.worker.lease_left(UUID(int=1), 1) == SAFE == 25.0
    assert shop.worker.lease_left(UUID(int=2), 2) == pytest.approx(SAFE - LEASE / 3)
    assert shop.worker.lease_left(UUID(int=1), 2) == 0.0


async def test_a_message_taken_up_again_has_a_lease_of_its_own(shop: Shop) -> None:
    """X22 in one process: after a pause past the lease the message is held under a new epoch, and what began under the
    old one neither lives on that lease nor ends it.
    """
    ended = {1: asyncio.Event(), 2: asyncio.Event()}

    async def deliver(lease: Lease) -> None:
        await ended[lease.epoch].wait()

    shop.worker.deliver_with(deliver)
    message = a_message()
    for epoch in (1, 2):
        assert shop.worker.reserve(PROJECT, SIZE)
        shop.worker.start(Lease(message=message, epoch=epoch), since=shop.clock.boottime(), size=SIZE)
        shop.clock.advance(LEASE)
    assert shop.worker.lease_left(message.id, 1) < shop.worker.lease_left(message.id, 2) <= 0.0

    renewing = asyncio.create_task(shop.worker.renew_forever())
    await asyncio.sleep(0)
    shop.clock.advance(LEASE / 3)
    await until(lambda: shop.queue.renewed)
    ended[1].set()
    await until(lambda: shop.worker.in_flight == 1)
    renewing.cancel()

    assert shop.queue.renewed == [{message.id: 2}]
    assert shop.worker.lease_left(message.id, 1) == 0.0
    assert shop.worker.lease_left(message.id, 2) == SAFE
    ended[2].set()
    await until(lambda: shop.worker.in_flight == 0)


async def test_what_was_lost_is_not_taken_anew_while_it_is_worked_on(shop: Shop) -> None:
    """A claim sets apart whose lease is over and whose delivery still runs, and nothing else."""
    shop.worker.start(Lease(message=a_message(id=UUID(int=1)), epoch=1), since=0.0, size=SIZE)
    shop.clock.advance(LEASE)
    shop.worker.start(Lease(message=a_message(id=UUID(int=2)), epoch=1), since=shop.clock.boottime(), size=SIZE)
    claiming = asyncio.create_task(shop.worker.claim_forever())
    await until(lambda: shop.queue.apart)
    shop.deliveries.go.set()
    await until(lambda: shop.queue.apart[-1] == [])
    claiming.cancel()

    assert shop.queue.apart[0] == [UUID(int=1)]


async def test_draining_lets_what_is_in_flight_end(shop: Shop) -> None:
    """A drain takes nothing new and returns as soon as what is in flight has ended; nothing is given back."""
    assert shop.worker.reserve(PROJECT, SIZE)
    shop.worker.start(Lease(message=a_message(), epoch=1), since=0.0, size=SIZE)
    task = await claiming(shop)
    draining = asyncio.create_task(shop.worker.drain(60))
    await asyncio.sleep(0)
    assert not shop.worker.reserve(PROJECT, SIZE)
    shop.deliveries.go.set()
    await draining
    await task

    assert shop.worker.in_flight == 0
    assert shop.queue.released == {}


async def test_draining_waits_for_what_is_being_accepted(shop: Shop) -> None:
    """A message whose commit is under way when the drain begins is delivered within the grace and not cut."""
    assert shop.worker.reserve(PROJECT, SIZE)
    draining = asyncio.create_task(shop.worker.drain(60))
    await asyncio.sleep(0)
    shop.worker.start(Lease(message=a_message(), epoch=1), since=0.0, size=SIZE)
    await asyncio.sleep(0)
    assert not draining.done()
    shop.deliveries.go.set()
    await draining

    assert len(shop.deliveries.leases) == 1
    assert shop.queue.released == {}


async def test_draining_cuts_what_does_not_end_and_gives_it_back(shop: Shop) -> None:
    """After the grace what is in flight is cut, and its leases are given back under their epochs."""
    assert shop.worker.reserve(PROJECT, SIZE)
    shop.worker.start(Lease(message=a_message(), epoch=7), since=0.0, size=SIZE)
    await asyncio.sleep(0)

    await shop.worker.drain(0.01)

    assert shop.queue.released == {a_message().id: 7}
    assert shop.worker.in_flight == 0


async def test_draining_outlives_the_database(shop: Shop) -> None:
    """When the leases can not be given back they run out by themselves; the drain still ends."""
    assert shop.worker.reserve(PROJECT, SIZE)
    shop.worker.start(Lease(message=a_message(), epoch=7), since=0.0, size=SIZE)
    await asyncio.sleep(0)
    shop.queue.away = True

    await shop.worker.drain(0.0)

    assert shop.worker.in_flight == 0


@pytest.mark.parametrize(("places", "more"), [(1000, 0), (2, 1)])
async def test_what_ends_brings_no_claim_while_there_is_room_anyway(places: int, more: int) -> None:
    """A claim that found less than it had room for has found everything: it is asked again when its time has come, not
    for each message that ends. One that was short of room is made again at once.
    """
    shop = Shop(places, jitter=1e6)  # the next poll is hours away
    shop.queue.due = [a_claim(1)]
    task = await claiming(shop)
    await until(lambda: shop.deliveries.leases)
    before = len(shop.queue.limits)
    shop.deliveries.go.set()
    await until(lambda: not shop.worker.in_flight)
    for _ in range(3):
        await asyncio.sleep(0)

    assert len(shop.queue.limits) - before == more
    task.cancel()


async def test_what_is_given_up_goes_back_at_once() -> None:
    """However long the next poll is away: until then nobody works on it."""
    shop = Shop(1000, jitter=1e6)
    task = await claiming(shop)
    await until(lambda: shop.queue.limits)
    shop.worker.give_up(UUID(int=7), 3)
    await until(lambda: shop.queue.released)
    task.cancel()

    assert shop.queue.released == {UUID(int=7): 3}
