"""What is served without a token: health, the OpenAPI document, the page that shows it."""

import re

from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.integration.gateway.conftest import House


async def test_the_document_is_valid_openapi_3_1(house: House):
    """The whole document, as it is served, without a token."""
    del house.client.headers["authorization"]
    response = await house.client.get("/openapi.json")

    OpenAPIV31SpecValidator(response.json()).validate()
    assert response.json()["openapi"] == "3.1.0"


async def test_the_page_needs_nothing_from_elsewhere(house: House):
    """No script, no image, no font, no address: its policy forbids them and its text has none."""
    response = await house.client.get("/docs")

    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-security-policy"].startswith("default-src 'none'")
    assert not re.search(
        r"<script|<img|<link|@import|url\(|src=|https?://(?!messagepipe)[a-z]+\.[a-z]+/.*\.(js|css)", response.text
    )
    assert "prefers-color-scheme: dark" in response.text
    assert "/email-config/providers" in response.text


async def test_the_root_leads_to_the_page(house: House):
    """A person who opens the port in a browser finds something."""
    response = await house.client.get("/")

    assert (response.status_code, response.headers["location"]) == (307, "/docs")


async def test_health_answers_head_too(house: House):
    """Some checkers only ask for the head."""
    response = await house.client.head("/healthz")

    assert (response.status_code, response.content) == (200, b"")
