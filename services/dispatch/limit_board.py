"""The gates of a process, kept supplied: grants and slots come from the database a few at a time, messages that wait in
the queue are called up as there is room for them. Rules: limits.py, gate.py; statements: limit_book.py.
"""

import asyncio
import contextlib
import math
from collections.abc import Mapping
from typing import Never, Protocol

from services.adapters.base import Channel
from services.adapters.outcome import Result
from services.chassis.clock import Clock
from services.chassis.log import get_logger
from services.dispatch import limit_book as book
from services.dispatch.chain import Chain, Provider
from services.dispatch.config_client import ConfigUnavailable
from services.dispatch.errors import DatabaseUnavailable
from services.dispatch.gate import Gate
from services.dispatch.limits import VALID, AtLimit, Permit, allowance_of
from services.dispatch.message import Message
from services.dispatch.store import Store

PATIENCE = 1.0
"""How long a message waits in memory, in seconds, by what is expected; longer ones wait in the queue."""
LAPSED = 10.0
TICK, AHEAD_OF_TICK = 1.0, 1.2
REFUSED_PAUSE = 0.1
IDLE = 60.0
SOME = 200
SWEEP_EVERY = 600.0


class Chains(Protocol):
    """Where chains come from."""

    async def get(self, project_id: str, channel: Channel) -> Chain:
        """The chain as it is now; raises ConfigUnavailable."""


class GatePermit:
    """The right to one call through a gate."""

    def __init__(self, board: "LimitBoard", gate: Gate, closes: float, *, waited: bool) -> None:
        self._board, self._gate, self._closes = board, gate, closes
        self.waited = waited
        self.patience = 0.0 if math.isinf(closes) else LAPSED
        self._has = True

    async def ready(self) -> bool:
        """Whether the call may begin at this moment. A right that lapsed meanwhile is got anew, before all others."""
        if self._board.time() < self._closes:
            return True
        self._has = False
        self._board.put_back(self._gate)
        closes = await self._board.stand_in_line(self._gate, LAPSED, first=True)
        self._has = closes is not None
        return self._has

    def end(self, result: Result | None, seconds: float | None) -> None:
        """The call has ended."""
        if self._has:
            self._has = False
            self._board.put_back(self._gate, result, seconds)


class LimitBoard:
    """The gates of one process by provider, as `Limits` promises; `run` and `call_up_forever` keep them supplied."""

    def __init__(self, store: Store, chains: Chains, clock: Clock, *, ceiling: int) -> None:
        self._store, self._chains, self._clock, self._ceiling = store, chains, clock, ceiling
        # A slot outlives the lease of the call that uses it, so that no other begins before that one was cut.
        self._keep_seconds = 2 * store.lease_seconds
        self._gates: dict[str, Gate] = {}
        self._wake = asyncio.Event()
        self._sweep_at = 0.0
        self._log = get_logger()

    def time(self) -> float:
        """Seconds since boot."""
        return self._clock.boottime()

    async def enter(self, provider: Provider, message: Message, *, waited_for: str) -> Permit | AtLimit:
        """A permit, at once or after a moment; AtLimit when it would take longer."""
        gate = self._gates.get(provider.id)
        if gate is None:
            gate = Gate(provider.id, message.project_id, message.channel, self._ceiling)
            self._gates[provider.id] = gate
        gate.allow(allowance_of(provider))
        gate.used_at = self.time()
        called_up = waited_for == provider.id
        if not gate.line and (called_up or not gate.elsewhere):
            closes = gate.take(self.time())
            if closes is not None:
                return GatePermit(self, gate, closes, waited=False)
        # Whoever comes new stands behind those that wait in the queue.
        short = gate.expected(self.time(), called_up=called_up) <= PATIENCE
        closes = await self.stand_in_line(gate, 2 * PATIENCE) if short else None
        if closes is None:
            wait = max(gate.expected(self.time(), called_up=False), PATIENCE)
            gate.elsewhere += 1
            return AtLimit(wait=wait)
        return GatePermit(self, gate, closes, waited=True)

    async def stand_in_line(self, gate: Gate, seconds: float, *, first: bool = False) -> float | None:
        """When the right to call ends that was got; None when there was none for so long."""
        turn: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        (gate.line.appendleft if first else gate.line.append)(turn)
        self._wake.set()
        try:
            await asyncio.wait([turn], timeout=seconds)
        except asyncio.CancelledError:
            if turn.done():
                self.put_back(gate)
            raise
        finally:
            with contextlib.suppress(ValueError):
                gate.line.remove(turn)
        return turn.result() if turn.done() else None

    def put_back(self, gate: Gate, result: Result | None = None, seconds: float | None = None) -> None:
        """A call has ended, or was not made."""
        before = gate.window.limit
        gate.ended(self.time(), result, seconds)
        if gate.window.limit != before and (gate.window.limit is None or gate.window.limit < (before or math.inf)):
            self._log.info("provider_concurrency", provider=gate.provider_id, limit=gate.window.limit)
        gate.serve(self.time())
        if gate.line:
            self._wake.set()

    def concurrency(self) -> Mapping[str, int]:
        """How many calls this process makes at a time through each provider that stood no more (AIMD)."""
        return {key: gate.window.limit for key, gate in self._gates.items() if gate.window.limit is not None}

    async def run(self) -> Never:
        """Until cancelled: whoever stands in line gets what there is."""
        while True:
            self._wake.clear()
            try:
                await self._supply()
            except DatabaseUnavailable as error:
                self._log.warning("limits_wait", cause=type(error.__cause__).__name__)
                for gate in self._gates.values():
                    gate.asks_at = gate.slots_at = self.time() + TICK / 2
            for gate in self._gates.values():
                gate.serve(self.time())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._wake.wait()

    def _pause(self) -> float:
        """Seconds until a grant opens or may be asked for, or slots are to be renewed."""
        now, pause = self.time(), TICK
        for gate in self._gates.values():
            opens = gate.opens_in(now)
            if gate.line and opens is not None:
                pause = min(pause, opens or REFUSED_PAUSE)
            if gate.calls_wanted(now):
                pause = min(pause, gate.asks_at - now)
            if gate.line and self._slots_wanted(gate, now):
                pause = min(pause, gate.slots_at - now)
        return max(pause, 0.001)

    def _slots_wanted(self, gate: Gate, now: float) -> bool:
        return gate.slots_wanted(now, self._keep_seconds) is not None

    async def _supply(self) -> None:
        now = self.time()
        gates = [gate for gate in self._gates.values() if gate.allowance.limited]
        for gate in gates:
            if not gate.enrolled:
                async with self._store.transaction() as connection:
                    await book.enrol(connection, gate.provider_id, gate.project_id)
                gate.enrolled = True
        await self._supply_slots([gate for gate in gates if gate.slots_at <= now and self._slots_wanted(gate, now)])
        now = self.time()
        await self._supply_grants([gate for gate in gates if gate.asks_at <= now and gate.calls_wanted(now)])

    async def _supply_slots(self, gates: list[Gate]) -> None:
        now = self.time()
        asks = [
            book.AskSlots(
                provider_id=gate.provider_id,
                most=gate.allowance.most or 0,
                slots=gate.slots_wanted(now, self._keep_seconds) or 0,
                in_use=gate.open_calls,
            )
            for gate in gates
        ]
        if not asks:
            return
        async with self._store.transaction() as connection:
            got = await book.slots(connection, self._store.worker, asks, self._keep_seconds)
        for gate, ask in zip(gates, asks, strict=True):
            gate.enrolled = gate.provider_id in got
            gate.slots = got.get(gate.provider_id, 0)
            # Half of the time is for calls that were begun: a lease of theirs is over when the slots run out.
            gate.slots_until = now + self._keep_seconds / 2
            if gate.slots < ask.slots:
                gate.slots_at = self.time() + REFUSED_PAUSE
            gate.serve(self.time())

    async def _supply_grants(self, gates: list[Gate]) -> None:
        now = self.time()
        asks = [
            book.AskGrant(
                provider_id=gate.provider_id,
                calls=gate.calls_wanted(now),
                spacing=gate.pace.spacing,
                longest=gate.pace.spacing * gate.pace.chunk,
            )
            for gate in gates
            if gate.pace is not None
        ]
        if not asks:
            return
        async with self._store.transaction() as connection:
            sent = self.time()
            got = await book.grants(connection, asks)
        answered = self.time()
        for gate in gates:
            grant = got.get(gate.provider_id)
            if grant is None:
                gate.enrolled = False
                continue
            # The database's moment lies between these two moments: the grant counts only where both agree.
            gate.put_in(grant.calls, answered + grant.begins_in, sent + grant.begins_in + VALID)
            gate.asks_at = answered + max(grant.again_in, 0.0)
            gate.serve(self.time())

    async def call_up_forever(self) -> Never:
        """Until cancelled, once a second: who waits in the queue is called up where a gate has room for it."""
        while True:
            await self._clock.sleep(TICK)
            try:
                await self._call_up()
            except DatabaseUnavailable as error:
                self._log.warning("limits_wait", cause=type(error.__cause__).__name__)

    async def _call_up(self) -> None:
        async with self._store.transaction() as connection:
            lines = await book.lines(connection)
        for gate in list(self._gates.values()):
            gate.reckon(TICK)
            waiting = lines.get(gate.provider_id, 0)
            gate.elsewhere = waiting if waiting < book.LOOK else max(gate.elsewhere, waiting)
            if waiting:
                await self._learn_settings(gate)
        async with self._store.transaction() as connection:
            turns = {provider_id: self._room_for(provider_id) for provider_id in lines}
            turns = {provider_id: room for provider_id, room in turns.items() if room > 0}
            if turns:
                await book.call_up(connection, turns)
            if self.time() >= self._sweep_at:
                self._sweep_at = self.time() + SWEEP_EVERY
                await book.sweep(connection)
        await self._tidy()

    def _room_for(self, provider_id: str) -> int:
        gate = self._gates.get(provider_id)
        if gate is None:
            return 1  # of a provider that this process does not know yet, one message teaches all that has to be known
        return SOME if gate.gone else gate.room(self.time(), AHEAD_OF_TICK)

    async def _learn_settings(self, gate: Gate) -> None:
        """Changed limits count for those that wait already; nobody waits for a provider that is not asked any more."""
        with contextlib.suppress(ConfigUnavailable):
            chain = await self._chains.get(gate.project_id, gate.channel)
            provider = next((each for each in chain.providers if each.id == gate.provider_id and each.enabled), None)
            gate.gone = provider is None
            if provider is not None:
                gate.allow(allowance_of(provider))

    async def _tidy(self) -> None:
        """Slots that are not needed go back, gates that nobody uses are forgotten."""
        now = self.time()
        spare = [gate for gate in self._gates.values() if gate.slots > gate.open_calls + len(gate.line)]
        if spare:
            await self._supply_slots_down(spare)
        for gate in list(self._gates.values()):
            used = gate.line or gate.open_calls or gate.elsewhere or gate.slots or gate.window.limit is not None
            if not used and now - gate.used_at > IDLE:
                del self._gates[gate.provider_id]

    async def _supply_slots_down(self, gates: list[Gate]) -> None:
        for gate in gates:
            # From here on only so many count, so that none is used while it goes back.
            gate.slots = gate.open_calls + len(gate.line)
        await self._supply_slots(gates)

    async def close(self) -> None:
        """Slots go back at once; without the database they run out."""
        with contextlib.suppress(DatabaseUnavailable):
            async with self._store.transaction() as connection:
                await book.give_back(connection, self._store.worker)
