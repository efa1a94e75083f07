"""Which messages this process works on: claims what is due, renews its leases, rescues what others left behind, drains
at the end.

A claim takes ready messages and expired leases alike: `due_at` is when anybody may take a message. So every worker is
a rescuer, and nothing has to be told apart but whether an attempt was open (delivery.py).
"""

import asyncio
import contextlib
import contextvars
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from uuid import UUID

from services.chassis.clock import Clock
from services.chassis.failpoints import failpoint
from services.chassis.log import get_logger
from services.dispatch import history as tell
from services.dispatch.convert import stored_message
from services.dispatch.database_clock import DatabaseClock
from services.dispatch.errors import DatabaseUnavailable
from services.dispatch.failover import Finish
from services.dispatch.ledger import Completion, Transition
from services.dispatch.message import EndReason, Message, State
from services.dispatch.peers import Share
from services.dispatch.ports import Lease
from services.dispatch.records import Claim
from services.dispatch.room import Room
from services.dispatch.store import Store
from services.dispatch.telemetry import UNCOUNTED, Telemetry

# Few at a time: they are written together, and a message of another project waits for as many as are (ADR 0019).
CLAIM_BATCH = 50
# What one claim brings into memory at once, however much room there is.
CLAIM_BYTES = 32 * 1024 * 1024
BREATH = 20  # claims that are taken up before others have their turn on the event loop
SHORTEST_POLL, LONGEST_POLL = 0.02, 0.5
# Of a lease: how often it is renewed, how soon again when that failed, and how long before its end nothing may go over
# the wire any more. So calls are cut only when no renewal came through for five sixths of a lease.
RENEW_EVERY, RENEW_AGAIN, MARGIN = 1 / 3, 1 / 15, 1 / 6


@dataclass(slots=True)
class _Held:
    """A lease in work: its task, and when it ends in seconds since boot."""

    ends: float
    task: "asyncio.Task[None]"


class Worker:
    """Works on at most `max_in_flight` messages at a time, of `max_bytes` and one message more, each through
    `deliver`; projects share the places.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        database_clock: DatabaseClock,
        *,
        max_in_flight: int,
        max_bytes: int,
        share: Callable[[], Share] = Share,
        jitter: Callable[[], float] = random.random,
        telemetry: Telemetry = UNCOUNTED,
    ) -> None:
        self._store = store
        self._clock = clock
        self._database_clock = database_clock
        self._room = Room(max_in_flight, max_bytes)
        self._share, self._jitter, self._telemetry = share, jitter, telemetry
        # By epoch too: after a pause longer than a lease this process may hold a message anew while what it began
        # under the old epoch still runs.
        self._held: dict[tuple[UUID, int], _Held] = {}
        self._given_up: dict[UUID, int] = {}
        self._wake = asyncio.Event()
        self._short_of_room = True  # whether the last claim might have brought more if there had been more room
        self._stopping = False
        self._deliver: Callable[[Lease], Awaitable[float | None]] | None = None
        self._log = get_logger()

    def deliver_with(self, deliver: Callable[[Lease], Awaitable[float | None]]) -> None:
        """Say how one message is delivered; before anything else."""
        self._deliver = deliver

    @property
    def in_flight(self) -> int:
        """How many messages are in work."""
        return len(self._held)

    def lease_left(self, message_id: UUID, epoch: int) -> float:
        """Seconds for which a call may still be on the wire under our lease: until a margin before its end, as this
        process knows it; 0 or less when it has none.
        """
        held = self._held.get((message_id, epoch))
        return held.ends - self._store.lease_seconds * MARGIN - self._clock.boottime() if held else 0.0

    def lost(self) -> list[UUID]:
        """The messages whose lease is over while this process still works on them. It does not take them anew, because
        it lives and that would be a strike; it gives them back when it learns of it.
        """
        now = self._clock.boottime()
        return [message_id for (message_id, _), held in self._held.items() if held.ends <= now]

    def give_up(self, message_id: UUID, epoch: int) -> None:
        """The delivery stopped without a result and nobody died of it: the message goes back, without a strike, as soon
        as the database allows; where somebody else has it, nothing happens.
        """
        self._given_up[message_id] = epoch
        self._wake.set()

    def reserve(self, project_id: str, size: int) -> bool:
        """Keep a place for a message of `size` bytes that is about to be accepted; give it back with `start` or
        `release_place`.
        """
        return not self._stopping and self._room.take(project_id, size)

    def release_place(self, project_id: str, size: int) -> None:
        """The message that the place was for was not accepted, or is in work no more."""
        self._room.give_back(project_id, size)
        if self._short_of_room:  # else everything that was due has been taken already
            self._wake.set()

    def start(self, lease: Lease, *, since: float, size: int) -> "asyncio.Task[None]":
        """Work on a message of `size` bytes whose lease began at `since` (seconds since boot); its place was
        reserved.
        """
        # In a context of its own: it goes on when the RPC that brought the message has ended.
        task = asyncio.create_task(self._work(lease, size), name=f"deliver {lease.id}", context=contextvars.Context())
        self._held[lease.id, lease.epoch] = _Held(ends=since + self._store.lease_seconds, task=task)
        return task

    async def _work(self, lease: Lease, size: int) -> None:
        if self._deliver is None:
            raise RuntimeError("deliver_with was not called")
        try:
            due_in = await self._deliver(lease)
        except Exception:  # noqa: BLE001 - the last stop of one message
            # A bug must not stop the others; the lease runs out and the message is taken up again.
            self._log.exception("delivery_failed", message=str(lease.id))
            return
        finally:
            self._held.pop((lease.id, lease.epoch), None)
            self.release_place(lease.message.project_id, size)
        if due_in is not None:
            asyncio.get_running_loop().call_later(due_in, self._wake.set)

    async def claim_forever(self) -> None:
        """Take what is due until the process stops; polling is the truth, being woken a hint."""
        pause = SHORTEST_POLL
        while not self._stopping:
            self._wake.clear()
            taken = await self._claim_some()
            if taken == CLAIM_BATCH:
                continue
            more_to_come = taken or self._store.settling >= CLAIM_BATCH
            pause = SHORTEST_POLL if more_to_come else min(pause * 2, LONGEST_POLL)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause * (0.5 + self._jitter())):
                    await self._wake.wait()

    async def _give_back(self) -> None:
        given_up, self._given_up = self._given_up, {}
        if given_up:
            try:
                await self._store.release(dict(sorted(given_up.items())))
            except BaseException:
                self._given_up = given_up | self._given_up
                raise

    async def _claim_some(self) -> int:
        # What waits to be written is work for this process and the database: more of it would only wait too, and before
        # other projects' messages. Messages that wait for their provider do not count here.
        turns = self._room.keep(max(CLAIM_BATCH - self._store.settling, 0), CLAIM_BYTES)
        if not turns.limit:
            self._short_of_room = True
            return 0
        since = self._clock.boottime()
        claims: list[Claim] = []
        try:
            failpoint("claim.before")
            await self._give_back()
            claims = await self._store.claim(turns, self._share(), self.lost())
        except DatabaseUnavailable as error:
            self._log.warning("claim_failed", cause=type(error.__cause__).__name__)
        finally:
            brought = list(map(_size_of, claims))
            self._room.settle(turns, brought)
        self._short_of_room = turns.used_up_by(brought)
        for number, claim in enumerate(claims, start=1):
            if not number % BREATH:
                await asyncio.sleep(0)
            self._database_clock.learn(claim.at)
            await self.take_up(claim, since)
        return len(claims)

    async def claim_alone(self, claim: Callable[[], Awaitable[Claim | None]]) -> Claim | None:
        """What `claim` brings, with a place of its own, to be worked on with `take_up`; None without a free place."""
        turns = self._room.keep(0 if self._stopping else 1, 0)
        found = None
        try:
            found = await claim() if turns.limit else None
        finally:
            self._room.settle(turns, [_size_of(found)] if found else [])
        return found

    async def take_up(self, claim: Claim, since: float) -> "asyncio.Task[None] | None":
        """Work on a claimed message, whose place is taken; None when there is nothing to work on."""
        if claim.claims > 1:  # whoever had it before brought no result
            self._telemetry.rescued()
        try:
            message = stored_message(
                claim.spec,
                message_id=claim.id,
                project_id=claim.project_id,
                deadline=claim.deadline,
                created_at=claim.created_at,
            )
        except Exception:  # noqa: BLE001 - whatever it is, it must not stop the other messages
            # Its lease runs out with a strike; after three of them it is quarantined.
            self._log.exception("message_unreadable", message=str(claim.id))
            self.release_place(*_size_of(claim))
            return None
        if not isinstance(message, Message):
            with contextlib.suppress(DatabaseUnavailable):  # its lease runs out and it comes again
                await self._refuse(
                    claim, "; ".join(f"{violation.field} {violation.description}" for violation in message)
                )
            self.release_place(*_size_of(claim))
            return None
        failpoint("claim.taken")
        settled = bool(claim.attempts) and claim.attempts[-1].result is not None
        lease = Lease(
            message=message,
            epoch=claim.epoch,
            history=claim.attempts,
            last_sequence=claim.last_sequence,
            waited=settled,
            waits_for=claim.waits_for,
            ended=claim.ended,
            generation=claim.generation,
        )
        return self.start(lease, since=since, size=len(claim.spec))

    async def _refuse(self, claim: Claim, why: str) -> None:
        """A stored message that today's rules refuse ends visibly instead of coming back for ever."""
        state = claim.ended.state if claim.ended else State.FAILED
        finish = Finish(state=state, reason=EndReason.REJECTED, detail=why)
        end = tell.ended_again if claim.ended else tell.completed
        events = [end(finish, claim.attempts)] if claim.generation.retrying or not claim.ended else []
        transition = Transition(
            message_id=claim.id,
            project_id=claim.project_id,
            epoch=claim.epoch,
            completes=claim.ended or Completion(state=finish.state, reason=finish.reason),
            events=tell.numbered(claim.last_sequence, events),
        )
        await self._store.apply(transition)
        self._telemetry.taken_out(EndReason.REJECTED)

    async def renew_forever(self) -> None:
        """Extend every lease in work, in one statement, three times per lease; sooner again when it failed."""
        every = RENEW_EVERY
        while True:
            await self._clock.sleep(self._store.lease_seconds * every)
            every = RENEW_EVERY if await self._renew() else RENEW_AGAIN

    async def _renew(self) -> bool:
        leases = _newest(self._held)
        if not leases:
            return True
        since = self._clock.boottime()
        failpoint("renew.before")
        renewal = asyncio.create_task(self._store.renew(leases), name="renew")
        try:
            await asyncio.wait([renewal], timeout=self._store.lease_seconds * RENEW_EVERY)
            if not renewal.done():
                self._log.warning("renewal_failed", leases=len(leases), cause="no answer")
                return False
            ours = renewal.result()
        except DatabaseUnavailable as error:
            self._log.warning("renewal_failed", leases=len(leases), cause=type(error.__cause__).__name__)
            return False
        finally:
            # Not waited for: a connection that hangs is given back as slowly, and the next renewal has another one.
            renewal.add_done_callback(_forget)
            renewal.cancel()
        for message_id, epoch in leases.items():
            held = self._held.get((message_id, epoch))
            if held is not None and message_id in ours:
                held.ends = since + self._store.lease_seconds
        return True

    async def drain(self, grace: float) -> None:
        """Take nothing new, let what is in flight finish for `grace` seconds, then cut it off and give back what never
        started.
        """
        self._stopping = True
        self._wake.set()
        # Places, not tasks: what is being accepted or claimed at this moment is in flight too, and gets its time.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._room.empty()
        left = dict(self._held)
        for held in left.values():
            held.task.cancel()
        await asyncio.gather(*(held.task for held in left.values()), return_exceptions=True)
        if left:
            self._log.warning("drain_cut", messages=len(left))
            self._given_up |= _newest(left)
        failpoint("drain.before_release")
        with contextlib.suppress(DatabaseUnavailable):
            await self._give_back()
        failpoint("drain.released")


def _forget(task: "asyncio.Task[frozenset[UUID]]") -> None:
    """Nobody waits for it any more; what it ends with is no news."""
    if not task.cancelled():
        task.exception()


def _size_of(claim: Claim) -> tuple[str, int]:
    """Whose message it is, and its bytes."""
    return claim.project_id, len(claim.spec)


def _newest(held: Iterable[tuple[UUID, int]]) -> dict[UUID, int]:
    return dict(sorted(held))
