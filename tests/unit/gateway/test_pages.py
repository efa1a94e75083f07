"""The pages that need no token."""

import asyncio
import json

import pytest

from gateway.pages import pages
from services.chassis.errors import Unavailable

DOCUMENT = {
    "info": {"title": "t", "description": "d"},
    "tags": [],
    "paths": {},
    "components": {"schemas": {}, "responses": {}},
}


async def test_every_page_is_there():
    """With its status and type."""
    made = {page.path: await page.make() for page in pages(DOCUMENT, (), asyncio.Event())}

    assert {path: answer[0] for path, answer in made.items()} == {
        "/healthz": 200,
        "/readyz": 200,
        "/openapi.json": 200,
        "/docs": 200,
        "/": 307,
    }
    assert json.loads(made["/openapi.json"][2]) == DOCUMENT


async def test_a_gateway_that_stops_is_not_ready():
    """So that a balancer looks elsewhere."""
    stopping = asyncio.Event()
    stopping.set()
    (ready,) = [page for page in pages(DOCUMENT, (), stopping) if page.path == "/readyz"]
    with pytest.raises(Unavailable, match="being stopped"):
        await ready.make()
