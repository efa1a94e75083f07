"""`up --demo`: a project whose first provider always fails, one email and one SMS through it, every attempt shown.

Everything goes the way of any client: configured over REST, sent and watched over gRPC. It is not a test.
"""

from collections.abc import Mapping
from typing import Any

import httpx
from messagepipe.dispatch.v1.message_pb2 import MessageSpec
from messagepipe.type.v1 import channel_pb2

from cli.client import Caller, bearer
from cli.problem import Problem
from cli.send import follow_dispatch
from cli.settings import Plan
from cli.terminal import Colour, Terminal
from cli.token import longest_ttl, mint_token
from services.chassis.clock import Clock

PROJECT = "demo"
TOKEN_SECONDS = 600
SENDERS: Mapping[str, Mapping[str, Any]] = {
    "email": {"senderEmail": "noreply@example.com", "senderName": "messagepipe demo"},
    "sms": {"senderId": "Demo"},
}
PROVIDERS: tuple[Mapping[str, Any], ...] = (
    {
        "provider": "sandbox",
        "name": "Primary (down)",
        "priority": 1,
        "config": {"script": [{"outcome": "deferred", "latencyMs": 120}]},
    },
    {
        "provider": "sandbox",
        "name": "Backup",
        "priority": 2,
        "config": {"script": [{"outcome": "accepted", "latencyMs": 80}]},
    },
)
EMAIL = MessageSpec(
    project_id=PROJECT,
    channel=channel_pb2.CHANNEL_EMAIL,
    to="ada@example.com",
    subject="Your order is on its way",
    text="It left our warehouse this morning.",
)
SMS = MessageSpec(
    project_id=PROJECT, channel=channel_pb2.CHANNEL_SMS, to="+14155550100", text="Your order is on its way."
)


async def run_demo(plan: Plan, *, terminal: Terminal, clock: Clock) -> None:
    """Both messages were sent and their attempts shown; a second start finds its providers and makes none twice."""
    ttl = longest_ttl(TOKEN_SECONDS, plan.jwt_secret, plan.base)
    token = mint_token(plan.jwt_secret, project=PROJECT, ttl_seconds=ttl, environ=plan.base, clock=clock)
    async with httpx.AsyncClient(
        base_url=f"http://{plan.target('gateway')}",
        headers={"authorization": f"Bearer {token}"},
        trust_env=False,
        timeout=30.0,
    ) as rest:
        for channel in ("email", "sms"):
            await configure(rest, channel)
    caller = Caller(target=plan.target("dispatch"), metadata=lambda: bearer(token))
    for spec, title in ((EMAIL, "An email"), (SMS, "A text message")):
        terminal.say(terminal.paint(f"Demo: {title} to {spec.to}, first provider down", Colour.STRONG))
        await follow_dispatch(spec, caller, terminal=terminal)
        terminal.say()


async def configure(rest: httpx.AsyncClient, channel: str) -> None:
    """The demo project has its sender and its two providers on one channel, made by this call or an earlier one."""
    project = {"projectId": PROJECT}
    sender = await rest.post(f"/{channel}-config", params=project, json=dict(SENDERS[channel]))
    if sender.status_code != httpx.codes.CONFLICT:  # it is there already
        _check(sender)
    answer = _check(await rest.get(f"/{channel}-config/providers", params=project))
    there = {provider["name"] for provider in answer.json()}
    for provider in PROVIDERS:
        if provider["name"] not in there:
            _check(await rest.post(f"/{channel}-config/providers", params=project, json=dict(provider)))


def _check(answer: httpx.Response) -> httpx.Response:
    if not answer.is_success:
        raise Problem(f"{answer.request.method} {answer.request.url.path} answered {answer.status_code}: {answer.text}")
    return answer
