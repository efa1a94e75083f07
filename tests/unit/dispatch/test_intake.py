"""The door: what is checked, what is written, and who works on it afterwards."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

import pytest
from messagepipe.dispatch.v1 import message_pb2

from services.adapters.base import Channel, EmailContent
from services.chassis.auth import ALL, Principal
from services.chassis.errors import FieldViolation, InvalidArgument, ServiceError
from services.dispatch.acceptor import Accepted, Acceptor
from services.dispatch.database_clock import DatabaseClock
from services.dispatch.delivery_log import moment_of
from services.dispatch.errors import DatabaseUnavailable, ProjectNotFound, TemplateNotFound
from services.dispatch.forms import Form
from services.dispatch.idempotency import Standing
from services.dispatch.intake import Intake, project_of
from services.dispatch.ledger import Acceptance
from services.dispatch.ports import Lease
from services.dispatch.watch import EventHub
from services.templates.parts import parse_parts
from tests.builders import MESSAGE_ID, NOON, PROJECT, a_spec, seconds
from tests.fakes.clock import FakeClock

COMMITTED = NOON + seconds(0.005)


def a_principal(*projects: str) -> Principal:
    """Somebody whose token names these projects; "*" is all of them."""
    named: Any = ALL if projects == ("*",) else frozenset(projects)
    return Principal(subject="x", projects=named, scopes=frozenset(), expires_at=0)


FORM = Form(
    id="form-1",
    version=7,
    channels=frozenset({Channel.EMAIL}),
    parts=parse_parts({"subject": "For {{name}}", "html": "<p>{{name}}</p>"}),
)


class Door:
    """An intake with a store and a worker that remember."""

    worker_name = "me"

    def __init__(self, clock: FakeClock | None = None, new_id: Callable[[], UUID] | None = lambda: MESSAGE_ID) -> None:
        self.accepted: list[Acceptance] = []
        self.error: Exception | None = None
        self.errors: dict[str, Exception] = {}
        self.earlier: Standing | None = None
        self.slow = asyncio.Event()
        self.slow.set()
        self.places = 1
        self.sizes: list[int] = []  # as they were given: a place's, negative where it is given back
        self.started: list[tuple[Lease, float]] = []
        self.hub = EventHub()
        database_clock = DatabaseClock(clock := clock or FakeClock())
        database_clock.learn(NOON)
        store: Any = self.Store(self)
        worker: Any = self
        self.acceptor = Acceptor(store=store, worker=worker, hub=self.hub, clock=clock)
        self.intake = Intake(
            store,
            worker,
            self.hub,
            clock,
            database_clock,
            max_message_bytes=1000,
            kinds={Channel.EMAIL: {}, Channel.SMS: {}},
            templates=self,
            new_id=new_id,
        )

    class Store:
        """What the intake sees of the store."""

        worker = "me"

        def __init__(self, door: "Door") -> None:
            self._door = door

        async def accept(self, acceptance: Acceptance) -> Standing:
            await self._door.slow.wait()
            if self._door.error is not None:
                raise self._door.error
            self._door.accepted.append(acceptance)
            message = acceptance.message
            made = Standing(message_id=message.id, created_at=COMMITTED, deadline=message.deadline)
            return self._door.earlier or made

        async def accept_each(self, acceptances: Sequence[Acceptance]) -> list[Standing | Exception]:
            together = (self._door.refuse_or(self.accept, acceptance) for acceptance in acceptances)
            return await asyncio.gather(*together, return_exceptions=True)  # type: ignore[return-value]

    async def refuse_or(self, accept: Callable[[Acceptance], Awaitable[Standing]], acceptance: Acceptance) -> Standing:
        """What the database says to a message: an error by its subject, if there is one."""
        content = acceptance.message.content
        if isinstance(content, EmailContent) and content.subject in self.errors:
            raise self.errors[content.subject]
        return await accept(acceptance)

    def reserve(self, project_id: str, size: int) -> bool:
        """A place, if one is free, as the worker gives them."""
        self.sizes.append(size)
        self.places -= 1
        if self.places < 0:
            self.places = 0
            return False
        return True

    def release_place(self, project_id: str, size: int) -> None:
        """A place comes back."""
        self.sizes.append(-size)
        self.places += 1

    def start(self, lease: Lease, *, since: float, size: int) -> None:
        """The worker begins."""
        self.sizes.append(size)
        self.started.append((lease, since))

    async def accept(self, **fields: Any) -> Accepted:
        """A good message, accepted."""
        spec = a_spec(tags=["t"], **fields)
        return await self.intake.accept(await self.intake.checked(spec, a_principal(PROJECT)))

    async def get(self, project_id: str, template_id: str, version: int = 0) -> Form:
        """The project's only template."""
        if (project_id, template_id, version) != (PROJECT, FORM.id, 0):
            raise TemplateNotFound(template_id)
        return FORM

    async def batch(self, *fields: dict[str, Any]) -> list[Accepted | ServiceError]:
        """Messages with these fields, accepted together."""
        return await self.intake.accept_batch([a_spec(**each) for each in fields], a_principal(PROJECT))

    def begun(self) -> list[str]:
        """The subjects of what the worker began."""
        contents = [lease.message.content for lease, _ in self.started]
        return [content.subject for content in contents if isinstance(content, EmailContent)]


@pytest.fixture
async def door() -> Door:
    """A door with one free place."""
    return Door()


async def test_an_id_carries_the_time_of_the_database() -> None:
    """A host whose clock is a month behind puts no message where it is forgotten at once; some seconds are its own."""
    for behind, carried in ((seconds(86400 * 30), NOON), (seconds(9), NOON - seconds(9))):
        door = Door(FakeClock(NOON - behind), new_id=None)
        made = (await door.intake.checked(a_spec(), a_principal(PROJECT))).message.id
        assert moment_of(made) == carried


async def test_an_accepted_message_is_durable_told_and_begun(door: Door) -> None:
    """The message has the time of its commit, its watchers know of it, and this process has its lease (epoch 1)."""
    with door.hub.of_message(MESSAGE_ID) as inbox:
        accepted = await door.accept()
        told = inbox.take()

    assert (accepted.message.created_at, accepted.replayed) == (COMMITTED, False)
    assert [event.sequence for event in told] == [1]
    (acceptance,) = door.accepted
    assert (acceptance.worker, acceptance.message.id, acceptance.key) == ("me", MESSAGE_ID, None)
    ((lease, since),) = door.started
    assert (lease.epoch, lease.history, lease.last_sequence, since) == (1, (), 1, 0.0)
    assert door.sizes == [len(acceptance.spec)] * 2


async def test_without_a_free_place_it_is_left_to_whoever_claims_it(door: Door) -> None:
    """A busy process accepts durably and leaves the work to others."""
    door.places = 0

    await door.accept()

    assert door.accepted[0].worker is None
    assert door.started == []


async def test_what_is_not_committed_is_not_begun(door: Door) -> None:
    """When nobody knows what was written, the caller is told so, nothing is begun, and the place is free again."""
    door.error = DatabaseUnavailable()

    with pytest.raises(DatabaseUnavailable):
        await door.accept()

    assert (door.started, door.places) == ([], 1)
    assert sum(door.sizes) == 0


async def test_a_caller_who_goes_away_takes_nothing_along(door: Door) -> None:
    """A caller who is cut off in the middle of the commit leaves a message that is worked on all the same."""
    door.slow.clear()
    calling = asyncio.create_task(door.accept())
    await asyncio.sleep(0.01)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    door.slow.set()
    await asyncio.sleep(0.01)

    assert len(door.accepted) == len(door.started) == 1


async def test_a_message_that_stands_already_is_not_begun_again(door: Door) -> None:
    """A key that was used before answers the message that was made then, tells nobody anything, and frees the place."""
    door.earlier = Standing(
        message_id=UUID(int=7), created_at=NOON - seconds(60), deadline=NOON + seconds(60), replayed=True
    )

    with door.hub.of_message(UUID(int=7)) as inbox:
        accepted = await door.accept(idempotency_key="order-7")
        told = inbox.take()

    assert accepted.replayed
    assert (accepted.message.id, accepted.message.created_at) == (UUID(int=7), NOON - seconds(60))
    assert accepted.message.deadline == NOON + seconds(60)
    assert (door.started, door.places, told) == ([], 1, [])


async def test_each_of_a_batch_is_checked_and_accepted_by_itself(door: Door) -> None:
    """R12: what is wrong with one item is that item's answer, at its place; the others are accepted, and begun as long
    as there are places.
    """
    fields = [{"subject": "1"}, {"to": "nobody"}, {"subject": "2"}, {"project_id": "other"}, {"subject": "3"}]
    door.places = 2

    answers = await door.batch(*fields)

    assert [type(answer) for answer in answers] == [Accepted, InvalidArgument, Accepted, ProjectNotFound, Accepted]
    assert isinstance(answers[1], InvalidArgument)
    assert [violation.field for violation in answers[1].violations] == ["messages[1].to"]
    assert [acceptance.worker for acceptance in door.accepted] == ["me", "me", None]
    assert door.begun() == ["1", "2"]
    assert {lease.message.created_at for lease, _ in door.started} == {COMMITTED}


async def test_what_the_database_refuses_of_a_batch_is_refused_alone(door: Door) -> None:
    """The item's answer is why; its place is free again, and the others are begun."""
    door.places = 3
    door.errors = {"2": DatabaseUnavailable()}

    answers = await door.batch({"subject": "1"}, {"subject": "2"}, {"subject": "3"})

    assert [type(answer) for answer in answers] == [Accepted, DatabaseUnavailable, Accepted]
    assert door.begun() == ["1", "3"]
    assert door.places == 1


async def test_what_is_no_refusal_fails_a_batch_after_all_was_begun(door: Door) -> None:
    """A fault of ours in one item is the answer to the whole request; what was written by then is worked on."""
    door.places = 3
    door.errors = {"1": RuntimeError("a bug")}

    with pytest.raises(RuntimeError):
        await door.batch({"subject": "1"}, {"subject": "2"}, {"subject": "3"})

    assert door.begun() == ["2", "3"]
    assert door.places == 1


async def test_a_batch_that_stood_already_is_not_begun_again(door: Door) -> None:
    """Keys that were used before answer the messages that were made then, and free their places."""
    door.places = 2
    door.earlier = Standing(
        message_id=UUID(int=7), created_at=NOON - seconds(60), deadline=NOON + seconds(60), replayed=True
    )

    answers = await door.batch({"idempotency_key": "a"}, {"idempotency_key": "b"})

    assert [answer.replayed for answer in answers if isinstance(answer, Accepted)] == [True, True]
    assert (door.started, door.places, sum(door.sizes)) == ([], 2, 0)


async def test_a_caller_of_a_batch_who_goes_away_takes_nothing_along(door: Door) -> None:
    """A caller who is cut off in the middle of the commit leaves messages that are worked on all the same."""
    door.places = 2
    door.slow.clear()
    calling = asyncio.create_task(door.batch({"subject": "1"}, {"subject": "2"}))
    await asyncio.sleep(0.01)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    door.slow.set()
    await asyncio.sleep(0.01)

    assert door.begun() == ["1", "2"]


async def test_a_batch_that_is_never_answered_keeps_no_place(door: Door) -> None:
    """When nothing is known of a batch at all, as where the process ends in its commit, every place is free again."""
    specs = [a_spec(subject="1"), a_spec(subject="2")]
    wanted = [await door.intake.checked(spec, a_principal(PROJECT)) for spec in specs]
    door.places = 2
    door.slow.clear()
    accepting = asyncio.create_task(door.acceptor.accept_each(wanted))
    await asyncio.sleep(0.01)
    accepting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await accepting

    assert (door.started, door.places, sum(door.sizes)) == ([], 2, 0)


@pytest.mark.parametrize("key", ["x" * 256, "naïve", "a\nb", "\x7f"])
async def test_a_key_has_a_form(door: Door, key: str) -> None:
    """A key is 1 to 255 printable ASCII characters."""
    with pytest.raises(InvalidArgument) as refused:
        await door.intake.checked(a_spec(idempotency_key=key), a_principal(PROJECT))

    assert [violation.field for violation in refused.value.violations] == ["message.idempotencyKey"]


async def test_every_violation_is_told(door: Door) -> None:
    """`checked` raises with all of them; `check` answers them with the path of its item."""
    bad = a_spec(to="nobody", max_tries=99)

    with pytest.raises(InvalidArgument) as refused:
        await door.intake.checked(bad, a_principal(PROJECT))
    found = await door.intake.check(bad, a_principal(PROJECT), "messages[2]")

    assert [violation.field for violation in refused.value.violations] == ["message.to", "message.maxTries"]
    assert isinstance(found, tuple)
    assert [violation.field for violation in found] == ["messages[2].to", "messages[2].maxTries"]


async def test_a_message_that_is_too_large(door: Door) -> None:
    """The whole message is bounded; the violation says how large it is."""
    with pytest.raises(InvalidArgument, match="at most 1000 bytes") as refused:
        await door.intake.checked(a_spec(text="x" * 1000), a_principal(PROJECT))

    assert [violation.field for violation in refused.value.violations] == ["message"]


@pytest.mark.parametrize(
    ("asked", "principal", "project"),
    [
        ("shop", a_principal("shop"), "shop"),
        ("", a_principal("shop"), "shop"),
        ("shop", a_principal("shop", "other"), "shop"),
        ("shop", a_principal("*"), "shop"),
    ],
)
def test_the_project_of_a_request(asked: str, principal: Principal, project: str) -> None:
    """The one it names, if the token allows it; else the token's only one."""
    assert project_of(asked, principal, "projectId") == project


@pytest.mark.parametrize(
    ("asked", "principal"),
    [
        ("", a_principal("shop", "other")),
        ("", a_principal("*")),
        ("a b", a_principal("*")),
        ("x" * 65, a_principal("*")),
    ],
)
def test_a_project_that_is_missing_or_malformed(asked: str, principal: Principal) -> None:
    """With several projects one must be named, and in its form."""
    found = project_of(asked, principal, "projectId")

    assert isinstance(found, FieldViolation)
    assert found.field == "projectId"


def test_another_project_does_not_exist() -> None:
    """Another project's id answers like one that does not exist."""
    with pytest.raises(ProjectNotFound):
        project_of("other", a_principal("shop"), "projectId")


async def test_a_message_keeps_what_its_template_made(door: Door) -> None:
    """Content, its template and the version; the key stands for what the caller said, the variables among it."""
    fields: dict[str, Any] = {"template_id": FORM.id, "subject": "", "text": "", "idempotency_key": "k"}
    for name in ("Ada", "Bob"):
        spec = a_spec(**fields)
        spec.variables.update({"name": name})
        await door.intake.accept(await door.intake.checked(spec, a_principal(PROJECT)))
    first, second = door.accepted
    kept = message_pb2.MessageSpec.FromString(first.spec)
    assert (kept.subject, kept.html, kept.template_version) == ("For Ada", "<p>Ada</p>", 7)
    assert not kept.variables.fields
    labels = message_pb2.MessageSpec.FromString(first.labels)
    assert (labels.template_id, labels.template_version) == (FORM.id, 7)
    assert first.key is not None
    assert second.key is not None
    assert first.key.fingerprint != second.key.fingerprint


async def test_each_item_of_a_batch_has_a_template_of_its_own(door: Door) -> None:
    """One that does not exist is that item's fault alone."""
    door.places = 2
    answers = await door.batch({"template_id": FORM.id, "text": ""}, {"template_id": "none", "text": ""}, {})
    assert [isinstance(answer, Accepted) for answer in answers] == [True, False, True]
    assert isinstance(answers[1], TemplateNotFound)
