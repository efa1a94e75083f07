"""The door, for messages made from templates: nobody waits for a slow one, and none makes gigabytes."""

import asyncio

import pytest
from messagepipe.dispatch.v1 import message_pb2

from services.adapters.base import Channel
from services.chassis.errors import InvalidArgument
from services.dispatch import intake
from services.dispatch.acceptor import Accepted, Checked
from services.dispatch.forms import Form
from services.templates.parts import parse_parts
from tests.builders import PROJECT, a_spec
from tests.unit.dispatch.test_intake import FORM, Door, a_principal


@pytest.fixture
async def door() -> Door:
    """A door with three free places."""
    made = Door()
    made.places = 3
    return made


SLOW = Form(
    id="slow-1",
    version=1,
    channels=frozenset({Channel.EMAIL}),
    parts=parse_parts({"text": "{{#each x}}{{#if a}}{{b}}{{/if}}{{/each}}ok"}),
)


def a_slow_spec() -> message_pb2.MessageSpec:
    """A message whose template takes some tenths of a second."""
    spec = a_spec(template_id=SLOW.id, text="")
    spec.variables.update({"x": [0] * 20_000})
    return spec


async def test_a_template_that_takes_its_time_keeps_nobody_else_waiting(door: Door) -> None:
    """Leases are renewed on the event loop: what is not quick is made beside it."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.001)

    task = asyncio.create_task(others())
    await asyncio.sleep(0)
    assert isinstance(await door.intake.check(a_slow_spec(), a_principal(PROJECT), form=SLOW), Checked)
    task.cancel()
    assert turns > 3


async def test_what_a_batch_makes_of_templates_is_bounded(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after is refused, not made: kilobytes of a request would become gigabytes. Content as it is goes."""
    monkeypatch.setattr(intake, "MAX_MADE_BYTES", 100)
    templated = {"template_id": FORM.id, "text": ""}
    answers = await door.batch(templated, templated, templated, {})
    assert [isinstance(answer, Accepted) for answer in answers] == [True, True, False, True]
    assert isinstance(answers[2], InvalidArgument)
    assert [each.field for each in answers[2].violations] == ["messages[2]"]
