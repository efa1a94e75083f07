"""What the stream of a project tells about a provider, as payloads. The events of a message are history.py's."""

from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent

from services.dispatch.breaker import Breaker, Change, News
from services.dispatch.chain import Provider
from services.dispatch.convert import CHANNEL_CODES, duration, timestamp

ABOUT_A_PROVIDER = frozenset({"provider_degraded", "provider_recovered", "failover_engaged"})
"""The kinds of event that belong to no message."""


def event_of(news: News) -> DeliveryEvent:
    """The event that tells it."""
    if news.taken is not None:
        return DeliveryEvent(failover_engaged=_engaged(news.breaker, news.taken))
    if news.change is Change.CLOSED:
        return DeliveryEvent(provider_recovered=_recovered(news))
    return DeliveryEvent(provider_degraded=_degraded(news.breaker))


def _degraded(breaker: Breaker) -> DeliveryEvent.ProviderDegraded:
    return DeliveryEvent.ProviderDegraded(
        provider_id=breaker.provider_id,
        kind=breaker.kind,
        provider_name=breaker.provider_name,
        channel=CHANNEL_CODES[breaker.channel],
        reason=breaker.block or "",
        detail=f"{breaker.reason}: {breaker.detail}" if breaker.detail else breaker.reason,
        until=timestamp(breaker.until),
        scope=breaker.scope,
    )


def _recovered(news: News) -> DeliveryEvent.ProviderRecovered:
    return DeliveryEvent.ProviderRecovered(
        provider_id=news.breaker.provider_id,
        kind=news.breaker.kind,
        provider_name=news.breaker.provider_name,
        channel=CHANNEL_CODES[news.breaker.channel],
        reason=news.closing or "",
        after=duration(news.after),
        scope=news.breaker.scope,
    )


def _engaged(first: Breaker, taken: Provider) -> DeliveryEvent.FailoverEngaged:
    return DeliveryEvent.FailoverEngaged(
        provider_id=taken.id,
        kind=taken.kind,
        provider_name=taken.name,
        channel=CHANNEL_CODES[first.channel],
        from_provider_id=first.provider_id,
        from_provider=first.kind,
        from_provider_name=first.provider_name,
        reason=first.block or "",
        until=timestamp(first.until),
    )
