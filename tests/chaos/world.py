"""What befalls two dispatch processes in miniature (miniature.py) on one database, and what the providers know: every
step of test_state_machine.py, walk.py and test_stories.py. Time moves when it is told to.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from google.protobuf.duration_pb2 import Duration
from messagepipe.dispatch.v1 import message_pb2

from services.adapters.receipts import Receipt, ReceiptRequest, ReceiptStatus
from services.chassis.errors import ServiceError
from services.dispatch import receipt_book as book
from services.dispatch.acceptor import Checked
from services.dispatch.convert import message_from_spec
from services.dispatch.errors import DatabaseUnavailable, DuplicatePossible, WrongState
from services.dispatch.failover import possible_duplicate
from services.dispatch.generation_book import Wish, retry
from services.dispatch.ledger import Completion
from services.dispatch.message import EndReason, Message, State, new_message_id
from services.dispatch.verdict import effect
from tests.builders import a_spec
from tests.chaos.miniature import KEY_HOURS, LEASE_SECONDS, Process, Taken, Waiting, begin_process
from tests.chaos.model import Model
from tests.chaos.pair import Clocked
from tests.chaos.quiet import PROJECT, Looks
from tests.fakes.receipts import GOOD, wire


@dataclass
class World:
    """Everything around the database, and what the providers know."""

    database: Clocked
    looks: Looks
    processes: list[Process] = field(default_factory=list)
    calling: list[Waiting] = field(default_factory=list)
    calls: list[Taken] = field(default_factory=list)
    accepted: list[UUID] = field(default_factory=list)
    acknowledged: set[UUID] = field(default_factory=set)
    at_most_once: set[UUID] = field(default_factory=set)
    sins: list[str] = field(default_factory=list)

    async def begin_anew(self) -> None:
        """An empty database and two fresh processes."""
        await self.database.clear()
        self.model = Model(self.database.now, LEASE_SECONDS, KEY_HOURS)
        self.turn = asyncio.Lock()
        self.calling, self.calls, self.accepted, self.sins = [], [], [], []
        self.acknowledged, self.at_most_once = set(), set()
        self.processes = [begin_process(self, place) for place in range(2)]

    async def end(self) -> None:
        """Every process is gone."""
        for place in range(2):
            await self._kill(self.processes[place])

    async def settle(self) -> None:
        """Until nobody does anything but wait for a provider, or stand still."""
        for _ in range(5):  # who was just woken has not run yet, and still counts as standing
            await asyncio.sleep(0)
        for _ in range(20_000):
            if all(each.pair.standing == each.worker.in_flight for each in self.processes):
                return
            await asyncio.sleep(0.0005)
        raise AssertionError("they never came to rest")

    async def accept(self, place: int, *, at_most_once: bool, tries: int, again: bool, ttl: int) -> None:
        """One message to one process, unless it stands still."""
        process = self.processes[place]
        if not process.pair.goes_on.is_set():
            return
        spec = a_spec(max_tries=tries, failover_on_receipt=again, ttl=Duration(seconds=ttl))
        if at_most_once:
            spec.unknown_policy = message_pb2.UNKNOWN_POLICY_AT_MOST_ONCE
        message_id = new_message_id(self.database.now)
        message = message_from_spec(spec, message_id=message_id, project_id=PROJECT, now=self.database.now)
        assert isinstance(message, Message)
        if at_most_once:
            self.at_most_once.add(message_id)
        await self._hand_over(process, message, spec)
        await self.settle()

    async def accept_keyed(self, place: int, key: str, subject: str) -> UUID | None:
        """One message under a key to one process, unless it stands still; the one that it turned out to be, None when
        nobody knows or the key stands for another content.
        """
        process = self.processes[place]
        if not process.pair.goes_on.is_set():
            return None
        spec = a_spec(idempotency_key=key, subject=subject)
        message_id = new_message_id(self.database.now)
        message = message_from_spec(spec, message_id=message_id, project_id=PROJECT, now=self.database.now)
        assert isinstance(message, Message)
        accepted = await self._hand_over(process, message, spec)
        await self.settle()
        return accepted

    async def _hand_over(self, process: Process, message: Message, spec: message_pb2.MessageSpec) -> UUID | None:
        try:
            accepted = (await process.intake.accept(Checked(message, spec, spec))).message.id
        except ServiceError:
            if message.id in self.model.messages:
                self.accepted.append(message.id)
            return None
        self.accepted.append(accepted)
        self.acknowledged.add(accepted)
        return accepted

    async def claim(self, place: int) -> None:
        """A look for due messages, unless the process stands still."""
        process = self.processes[place]
        if process.pair.goes_on.is_set():
            await process.worker._claim_some()
            await self.settle()

    async def renew(self, place: int) -> None:
        """A renewal of every lease, unless the process stands still."""
        process = self.processes[place]
        if process.pair.goes_on.is_set():
            await process.worker._renew()

    async def renew_late(self, place: int, one: int, word: str) -> None:
        """A provider answers while a renewal of everything that the process had in work is on its way."""
        process = self.processes[place]
        if not process.pair.goes_on.is_set() or not self.waiting():
            return
        leases = dict(sorted(process.worker._held))
        await self.answer(one, word)
        await process.pair.renew(leases)

    async def drain(self, place: int, *, at_once: bool) -> None:
        """SIGTERM, once the process does not stand still any more, and a new process: whatever is called is cut off,
        and `at_once` it has just taken something and recorded nothing of it.
        """
        await self.resume(place)
        process = self.processes[place]
        if at_once:
            process.pair.goes_on.clear()
            await process.worker._claim_some()
        await process.worker.drain(0)
        process.pair.goes_on.set()
        await self.crash(place)

    async def stand_before_the_wire(self, place: int) -> None:
        """A process stands still between the record of an attempt and its first byte, is taken over from, goes on."""
        process = self.processes[place]
        process.pair.stands_after_record = True
        await self.claim(place)
        process.pair.stands_after_record = False
        await self.advance(LEASE_SECONDS + 1)
        await self.claim(1 - place)
        await self.resume(place)

    async def look(self, place: int) -> None:
        """A look at every lease, unless the process stands still: calls whose lease is over are cut."""
        process = self.processes[place]
        if process.pair.goes_on.is_set():
            self.looks.look([held.task for held in process.worker._held.values()])
            await self.settle()

    async def suspect(self, place: int) -> None:
        """One suspect is worked on, or one whom nobody survived is taken out, unless the process stands still."""
        process = self.processes[place]
        if process.pair.goes_on.is_set():
            await self._look_after_suspects(process)

    async def _look_after_suspects(self, process: Process) -> None:
        try:
            if not await process.suspects.take_one_out():
                self.model.take_out(None)
                await process.suspects.work_on_one()
        except DatabaseUnavailable:
            return  # whatever it was is rolled back, whichever statement failed
        await self.settle()

    async def retry(self, one: int, *, accept_duplicate: bool) -> None:
        """A caller wants one of the messages dispatched anew, at the first process."""
        message_id = self.accepted[one % len(self.accepted)]
        try:
            async with self.processes[0].pair.transaction() as connection:
                wish = Wish(accept_duplicate=accept_duplicate)
                word = "nothing" if await retry(connection, message_id, wish) is None else "retried"
        except WrongState:
            word = "wrong state"
        except DuplicatePossible:
            word = "duplicate possible"
        assert word == self.model.retry(message_id, accept_duplicate=accept_duplicate)

    def waiting(self) -> list[Waiting]:
        """Calls without an answer."""
        return [each for each in self.calling if not each.answer.done()]

    async def answer(self, one: int, word: str) -> None:
        """One of the calls is answered."""
        waiting = self.waiting()
        waiting[one % len(waiting)].answer.set_result(word)
        await self.settle()

    def take(self, message_id: UUID, attempt: int, provider_id: str, reference: str) -> None:
        """A provider has it from now on."""
        taken = Taken(message_id=message_id, attempt=attempt, provider_id=provider_id, reference=reference)
        before = [each for each in self.calls if each.message_id == message_id]
        self.calls.append(taken)
        kept = self.model.messages[message_id]
        # Who retries a message that is UNKNOWN has accepted that it may be taken twice.
        excused = kept.once_refused | set(range(1, kept.generation.after_attempt + 1))
        if message_id in self.at_most_once and any(each.attempt not in excused for each in before):
            self.sins.append(f"AT_MOST_ONCE {message_id} was taken by {before} and {taken}")

    async def pause(self, place: int) -> None:
        """SIGSTOP."""
        self.processes[place].pair.goes_on.clear()

    async def resume(self, place: int) -> None:
        """SIGCONT."""
        self.processes[place].pair.goes_on.set()
        await self.settle()

    async def crash(self, place: int) -> None:
        """SIGKILL, and a new process."""
        await self._kill(self.processes[place])
        self.processes[place] = begin_process(self, place)

    async def die_of_it(self, place: int, *, at_once: bool) -> None:
        """A process takes whatever it finds, suspects too, and is killed with it, before any of that is recorded or
        while providers are called; its leases run out.
        """
        process = self.processes[place]
        if at_once:
            process.pair.goes_on.clear()
        await process.worker._claim_some()
        await self._look_after_suspects(process)
        await self.crash(place)
        await self.advance(LEASE_SECONDS + 1)

    async def _kill(self, process: Process) -> None:
        process.pair.killed = True
        tasks = [held.task for held in process.worker._held.values()]
        for task in tasks:
            task.cancel()
        process.pair.goes_on.set()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def advance(self, seconds: float) -> None:
        """Time goes by for all."""
        await self.database.advance(seconds)
        self.model.now = self.database.now

    async def cancel(self, one: int) -> None:
        """A caller cancels one of the messages, at the first process."""
        message_id = self.accepted[one % len(self.accepted)]
        attempts = self.model.messages[message_id].attempts
        completion = Completion(
            state=State.CANCELED,
            reason=EndReason.CANCELED_BY_CALLER,
            possible_duplicate=possible_duplicate(attempts),
        )
        try:
            await self.processes[0].pair.cancel(message_id, completion, b"")
        except ServiceError:
            return

    async def receipt(self, one: int, status: ReceiptStatus) -> None:
        """A provider tells of a call that it took; everything that was told is looked at."""
        taken = self.calls[one % len(self.calls)]
        fields = {"status": status, "provider_message_id": taken.reference, "message_id": str(taken.message_id)}
        body = wire({**fields, "route_at_fault": status is ReceiptStatus.BOUNCED_SOFT})
        request = ReceiptRequest(url="", headers=GOOD, body=body, received_at=self.database.now)
        process = self.processes[0]
        await process.desk.receive(taken.provider_id, taken.provider_id, request)
        rows = await self.database.pool.fetch("SELECT id FROM dispatch.receipts WHERE look_at IS NOT NULL ORDER BY id")
        for row in rows:
            await self._look_at(process, row["id"])

    async def _look_at(self, process: Process, receipt_id: int) -> None:
        async with process.pair.store.transaction() as connection:
            matter = await book.take_up(connection, receipt_id)
        if matter is not None:
            told: Receipt = matter.receipt
            change = effect(matter.case, told)
            await process.desk._apply(receipt_id)
            self.model.receipt(matter.message_id, matter.case, change, told)

    async def dump(self) -> dict[UUID, dict[str, Any]]:
        """The database."""
        return await self.database.dump()

    def taken(self, message_id: UUID) -> list[int]:
        """The attempts in which providers took a message."""
        return [each.attempt for each in self.calls if each.message_id == message_id]

    def doubles_allowed(self, message_id: UUID) -> set[int]:
        """The attempts after which another one may be taken too: those that were unknown before late truth came, and
        those that a receipt refused, though a later one may say that they arrived after all.
        """
        kept = self.model.messages[message_id]
        return kept.once_unknown | kept.once_refused
