"""The template for many in one request, where credentials have to be fetched first."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest

from services.adapters.base import Address, Call
from services.adapters.email.ses import SPEC
from services.adapters.http import HttpKind
from services.adapters.http_joint import Joint, JointHttpAdapter, same_for_each
from services.adapters.identity import Ask, NotSigned
from services.adapters.outcome import Outcome, Reason, Result
from tests.fakes.clock import FakeClock
from tests.unit.adapters.calls import an_email

ACCEPTED = Result(outcome=Outcome.ACCEPTED, reason=Reason.ACCEPTED)
FETCHED = "a-fetched-secret-key"
NO_ROLE = Result(outcome=Outcome.DENIED, reason=Reason.CREDENTIALS, provider_text="no such role")


class Role:
    """An identity that fetches a key, or fails to."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.dropped: list[Mapping[str, Any]] = []

    async def resolve(self, config: Mapping[str, Any], ask: Ask) -> Mapping[str, Any]:
        """The settings with the fetched key."""
        if self.fails:
            raise NotSigned(NO_ROLE)
        return {**config, "secretAccessKey": FETCHED}

    def refused(self, config: Mapping[str, Any], result: Result) -> Result:
        """Drop the key; say so."""
        self.dropped.append(config)
        return replace(result, provider_text=f"{result.provider_text} (dropped)")


def adapter(role: Role, answer: Result, seen: list[Call]) -> JointHttpAdapter:
    """An adapter whose vendor gives this answer, and that remembers what it built from."""

    def build(calls: Sequence[Call]) -> httpx.Request:
        seen.extend(calls)
        return httpx.Request("POST", "https://vendor.example/")

    joint = Joint(
        most=9,
        joinable=lambda call: "anybody",
        build=build,
        read=lambda _, calls: same_for_each(answer, len(calls)),
    )
    kind = HttpKind(spec=SPEC, build=lambda call: ACCEPTED, read=lambda *_: ACCEPTED)
    transport = httpx.MockTransport(lambda _: httpx.Response(200))
    return JointHttpAdapter(kind, joint, transport, FakeClock(), role)


def two() -> list[Call]:
    """Two calls."""
    config = {"roleArn": "arn"}
    return [an_email(config), an_email(config, to=Address(email="bob@example.com"))]


async def test_the_request_is_signed_with_what_was_fetched() -> None:
    """Every call has the key when the request is built, in no more time than there was; it is asked for once."""
    seen: list[Call] = []
    results = await adapter(Role(), ACCEPTED, seen).send_together(two())

    assert results == [ACCEPTED, ACCEPTED]
    assert [call.config["secretAccessKey"] for call in seen] == [FETCHED] * 2
    assert all(call.timeout <= 10.0 for call in seen)


async def test_a_key_that_is_refused() -> None:
    """It is dropped, once for all, by the settings that were given; nobody reads it in the words."""
    role = Role()
    words = replace(NO_ROLE, provider_text=f"{FETCHED} is no key")
    results = await adapter(role, words, []).send_together(two())

    assert [result and result.provider_text for result in results] == ["*** is no key (dropped)"] * 2
    assert role.dropped == [{"roleArn": "arn"}]


async def test_no_key() -> None:
    """Without a key nothing is asked, and each is told why."""
    seen: list[Call] = []
    assert await adapter(Role(fails=True), ACCEPTED, seen).send_together(two()) == [NO_ROLE, NO_ROLE]
    assert not seen


async def test_who_may_not_is_not_asked_for_an_hour() -> None:
    """Keys that may send, but not many at a time, cost one refused call an hour, until the settings change."""
    forbidden = Result(outcome=Outcome.DENIED, reason=Reason.PERMISSION)
    clock = FakeClock()
    kind = HttpKind(spec=SPEC, build=lambda _: ACCEPTED, read=lambda *_: forbidden)
    joint = Joint(
        most=9,
        joinable=lambda _: "anybody",
        build=lambda _: httpx.Request("POST", "https://vendor.example/"),
        read=lambda _, calls: same_for_each(forbidden, len(calls)),
    )
    asked = JointHttpAdapter(kind, joint, httpx.MockTransport(lambda _: httpx.Response(403)), clock)
    call = an_email({})

    before = asked.joinable(call)
    assert await asked.send_together([call, call]) == [None, None]
    after = [asked.joinable(each) for each in (call, replace(call, config_version=2), replace(call, provider_id="p2"))]
    clock.advance(3600)

    assert (before, after, asked.joinable(call)) == ("anybody", ["", "anybody", "anybody"], "anybody")


@pytest.mark.parametrize("content", [{"headers": (("X\n", "a"),)}, {"to": Address(email="nobody")}])
def test_what_no_header_can_carry(content: dict[str, Any]) -> None:
    """It goes alone, where it becomes the outcome that says why."""
    assert adapter(Role(), ACCEPTED, []).joinable(an_email({}, **content)) == ""
