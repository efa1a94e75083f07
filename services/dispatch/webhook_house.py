"""Webhooks put together: the vault's client, the way out, the desk that posts, the servicer. No rules here."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import grpc

from services.adapters.egress import Egress, EgressDenied
from services.adapters.http_transport import build_transport
from services.chassis.background import background
from services.chassis.clock import Clock
from services.chassis.service_config import channel_options
from services.dispatch.access import Access
from services.dispatch.vault_client import VaultClient
from services.dispatch.webhook_servicer import WebhookServicer
from services.dispatch.webhooks import WebhookDesk

# Projects choose these names, and may make them slow: the process' few other threads look up those of providers.
NAME_THREADS = 32


@asynccontextmanager
async def open_webhooks(
    store: Access,
    *,
    config_target: str,
    token: Callable[[], str],
    egress: Egress,
    clock: Clock,
    now: Callable[[], datetime],
    fraction: Callable[[], float],
    stop: asyncio.Event,
) -> AsyncIterator[WebhookServicer]:
    """WebhookService's servicer; events are posted for as long as the block runs. `now` is the database's time."""
    transport = build_transport(egress, name_threads=NAME_THREADS)
    options = channel_options(keyed=False, wait_for_ready=False)
    try:
        async with grpc.aio.insecure_channel(config_target, options=options) as channel:
            vault = VaultClient(channel, token)
            desk = WebhookDesk(store, vault, transport, clock, fraction)
            servicer = WebhookServicer(store, vault, desk, _plain_allowed(egress), now)
            async with background(desk.run, stop):
                yield servicer
    finally:
        await transport.aclose()


def _plain_allowed(egress: Egress) -> Callable[[str], bool]:
    """Whether http may be spoken to a host: only to an address that the operator has allowed by name."""
    by_name = Egress(allow=egress.allow)

    def allowed(host: str) -> bool:
        try:
            # A port that no public address may have: what passes is in a network that was named.
            by_name.check("127.0.0.1" if host == "localhost" else host, port=1)
        except EgressDenied:
            return False
        return True

    return allowed
