"""The other kinds: SMTP beside a bare aiosmtplib loop, SES and SNS beside a kind of their channel that signs nothing,
Mailgun beside SendGrid.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from bench.rig import Loop, Rig, Run
from bench.scenario import Row, Scenario
from bench.scenarios.stage import IN_FLIGHT, alone, cpu, project, staged

CONNECTIONS = 10  # what the smtp adapter keeps of one provider


@asynccontextmanager
async def _smtp(rig: Rig) -> AsyncIterator[Mapping[str, Loop]]:
    port = await rig.provider("smtp")
    async with staged(rig, "smtp") as stage:
        yield {"d": alone(rig, "smtp", port, in_flight=CONNECTIONS), "service": stage.service()}


@asynccontextmanager
async def _beside(rig: Rig, kind: str, plain: str, channel: str) -> AsyncIterator[Mapping[str, Loop]]:
    """One dispatcher, two projects: what it sends through `kind` beside what it sends through `plain`."""
    async with staged(rig, plain, channel=channel) as stage:
        name, ports = await project(rig, kind)

        async def loop(seconds: float | None = None) -> Run:
            more = {} if seconds is None else {"seconds": seconds}
            return await rig.sent(
                stage.dispatch, name, ports, way="unary", in_flight=IN_FLIGHT, channel=channel, **more
            )

        await loop(rig.scale.warm)
        yield {plain: stage.service(channel=channel), kind: loop}


def _scenario(kind: str, plain: str, channel: str, at_least: float | None) -> Scenario:
    def loops(rig: Rig) -> AbstractAsyncContextManager[Mapping[str, Loop]]:
        return _beside(rig, kind, plain, channel)

    return Scenario(
        name=kind,
        title=f"{kind} beside {plain}, one dispatcher",
        loops=loops,
        rows=(
            Row(what="messages/s", figure=f"{kind}.rate", beside=f"{plain}.rate", at_least=at_least),
            cpu(plain, kind),
        ),
    )


SCENARIOS = (
    Scenario(
        name="smtp",
        title="SMTP to a sink beside aiosmtplib on kept connections (d)",
        loops=_smtp,
        rows=(Row(what="messages/s", figure="service.rate", beside="d.rate", at_least=0.8), cpu("d")),
    ),
    _scenario("ses", "sendgrid", "EMAIL", 0.5),
    _scenario("sns", "twilio", "SMS", 0.5),
    _scenario("mailgun", "sendgrid", "EMAIL", None),
)
