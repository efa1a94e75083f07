"""Templates that are kept: what happens when ConfigService does not answer, and how much is kept."""

from typing import Any

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata
from messagepipe.config.v1 import template_pb2

from services.dispatch import template_cache
from services.dispatch.errors import ServiceUnavailable
from services.dispatch.template_cache import FRESH_SECONDS, SHORT_TIMEOUT, TIMEOUT, TemplateCache
from tests.fakes.clock import FakeClock


class Config:
    """A TemplateService that counts how often, and for how long, it is waited for."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.waits: list[float] = []
        self.away = False
        channel: Any = grpc.aio.insecure_channel("localhost:1")
        self.cache = TemplateCache(channel, lambda: "token", self.clock)
        self.cache._stub = self  # type: ignore[assignment]

    async def ResolveTemplate(self, request: Any, *, metadata: Any, timeout: float) -> template_pb2.Template:  # noqa: N802
        """The template, or nothing within the time."""
        self.waits.append(timeout)
        if self.away:
            raise AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, Metadata(), Metadata())
        return template_pb2.Template(
            id=request.template_id, version=1, type=template_pb2.Template.TYPE_SMS, body="{{x}}"
        )


@pytest.fixture
async def config() -> Config:
    """A ConfigService."""
    return Config()


async def test_a_config_service_that_hangs_is_waited_for_briefly_and_seldom(config: Config) -> None:
    """What is known goes on counting: one message a second asks, the others wait for nobody."""
    form = await config.cache.get("shop", "t")
    config.away = True
    config.clock.advance(FRESH_SECONDS)
    assert [await config.cache.get("shop", "t") for _ in range(5)] == [form] * 5
    assert config.waits == [TIMEOUT, SHORT_TIMEOUT]
    with pytest.raises(ServiceUnavailable):
        await config.cache.get("shop", "unknown")


async def test_templates_of_a_few_characters_are_no_reason_to_keep_millions(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes its place, however short it is."""
    monkeypatch.setattr(template_cache, "KEPT_CHARS", 10 * template_cache.KEPT_AT_LEAST)
    for number in range(50):
        await config.cache.get("shop", f"t{number}", 1)
    assert len(config.cache._kept) < 12
