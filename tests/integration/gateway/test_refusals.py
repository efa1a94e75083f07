"""What the gateway refuses by itself: bad tokens, bad routes, bad bodies. None of it reaches a service."""

from collections.abc import AsyncIterator

import httpx
import pytest

from gateway.app import open_gateway
from gateway.settings import MIB
from tests.integration.gateway.conftest import House, a_free_port, a_token, settings

CREATE = "/email-config/providers?projectId=demo"
MEMBERS = {"statusCode", "error", "message", "code", "reason", "details"}


def reason(response: httpx.Response, status: int) -> str:
    """The reason of an error answer, once its form is checked."""
    body = response.json()
    assert response.status_code == status == body["statusCode"], response.text
    assert set(body) == MEMBERS
    assert response.headers["x-request-id"]
    found: str = body["reason"]
    return found


def fields(response: httpx.Response) -> list[str]:
    """The paths of all violations."""
    return [each["field"] for each in response.json()["details"]["violations"]]


async def test_a_call_without_a_token_is_asked_for_one(house: House):
    """401 with WWW-Authenticate, and no service is bothered."""
    response = await house.client.get("/v1/messages/m-1", headers={"authorization": ""})
    del house.client.headers["authorization"]
    missing = await house.client.get("/v1/messages/m-1")

    assert reason(response, 401) in ("TOKEN_MISSING", "TOKEN_INVALID")
    assert reason(missing, 401) == "TOKEN_MISSING"
    assert missing.headers["www-authenticate"] == 'Bearer realm="messagepipe"'
    assert house.dispatch.asked == []


async def test_a_bad_token_is_refused_before_anybody_else_is_asked():
    """Forged, expired, another scheme: 401 even while both services are down, when a good token gets 503."""
    good = a_token()
    nowhere = settings(a_free_port(), a_free_port())
    async with open_gateway(nowhere) as gateway, httpx.AsyncClient(trust_env=False) as client:

        async def ask(value: str) -> httpx.Response:
            url = f"http://127.0.0.1:{gateway.port}/v1/messages/m-1"
            return await client.get(url, headers={"authorization": value})

        assert reason(await ask(f"Bearer {good[:-8]}AAAAAAAA"), 401) == "TOKEN_INVALID"
        assert reason(await ask(f"Bearer {a_token(age=3600)}"), 401) == "TOKEN_EXPIRED"
        assert reason(await ask("Basic YTpi"), 401) == "TOKEN_INVALID"
        assert (await ask(f"Bearer {good}")).status_code == 503


async def test_what_can_be_no_api_key_is_refused_before_its_body_is_read(house: House):
    """401 without a word about why; no service is asked."""
    del house.client.headers["authorization"]
    for key in ("mzl_1", "", "mzl_" + "a" * 41, "mzl_" + "-" * 40):
        response = await house.client.post("/email/send", headers={"x-api-key": key}, content=b"{")
        assert reason(response, 401) == "KEY_INVALID"
        assert key not in response.text or not key
    assert house.dispatch.asked == []


async def test_an_api_key_is_passed_on(house: House):
    """What has the form of a key is the service's to judge; no token is sent with it."""
    del house.client.headers["authorization"]
    response = await house.client.get("/v1/messages/m-1", headers={"x-api-key": "mzl_" + "a" * 40})
    assert reason(response, 403) == "SCOPE_MISSING"  # the stand-in takes no keys


async def test_a_token_and_an_api_key_are_refused(house: House):
    """Nobody has to guess which of them counts."""
    response = await house.client.get("/v1/messages/m-1", headers={"x-api-key": "mzl_" + "a" * 40})
    assert reason(response, 401) == "TOKEN_INVALID"
    assert "not both" in response.json()["message"]


async def test_a_missing_scope_is_the_service_s_word(house: House):
    """403 with the scope that is missing."""
    headers = {"authorization": f"Bearer {a_token('messages:read')}"}
    response = await house.client.post("/v1/messages", headers=headers, json={"to": "a@example.com"})

    assert reason(response, 403) == "SCOPE_MISSING"
    assert response.json()["details"]["metadata"] == {"scope": "messages:send"}


async def test_an_unknown_path_names_the_nearest_route(house: House):
    """404 in JSON with a suggestion."""
    response = await house.client.get("/email-config/provider")

    assert reason(response, 404) == "ROUTE_NOT_FOUND"
    assert "/email-config/providers" in response.json()["message"]


async def test_a_wrong_method_is_answered_with_allow(house: House):
    """405 lists what the path takes, over all routes that have it."""
    response = await house.client.request("OPTIONS", "/email-config/providers/p-1")

    assert reason(response, 405) == "METHOD_NOT_ALLOWED"
    assert response.headers["allow"] == "DELETE, GET, PUT"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"name": "P",\n "x" 1}', "line 2 column 6"),
        (b'{"name": "P"} {}', "after the end"),
        (b'{"name": NaN}', "NaN"),
        (b'{"name": "\xff"}', "UTF-8"),
        (b'{"config": ' + b'{"a":' * 200 + b"1" + b"}" * 201, "deeper than 100"),
        (b"[" * 100_000, "deeper than 100"),
        (b'{"priority": ' + b"9" * 5000 + b"}", "too many digits"),
    ],
)
async def test_malformed_json_is_refused_with_its_place(house: House, body: bytes, words: str):
    """400 MALFORMED_JSON says where and what."""
    response = await house.client.post(CREATE, content=body, headers={"content-type": "application/json"})

    assert reason(response, 400) == "MALFORMED_JSON"
    assert words in response.json()["message"]


async def test_an_empty_body_is_refused_where_one_is_needed(house: House):
    """400, not a message with nothing in it."""
    assert reason(await house.client.post(CREATE), 400) == "MALFORMED_JSON"


async def test_everything_wrong_is_told_at_once_with_its_json_path(house: House):
    """Unknown members, wrong types, bad words, bad base64, ranges, duplicates and query parameters in one answer."""
    body = (
        b'{"nam": 1, "channel": "FAX", "to": 5, "to": 6, "maxTries": 99999999999, "ttl": "soon", "html": null,'
        b'"attachments": [{"content": "%"}, 3], "headers": {"X": 1}, "cc": "a", "unknownPolicy": "AT_MOST_ONC"}'
    )
    url = "/v1/messages?projectID=demo"
    response = await house.client.post(url, content=body, headers={"content-type": "application/json; charset=utf-8"})

    assert reason(response, 400) == "INVALID_ARGUMENT"
    assert sorted(fields(response)) == sorted(
        [
            "to",
            "to",
            "nam",
            "channel",
            "maxTries",
            "ttl",
            "attachments[0].content",
            "attachments[1]",
            "headers.X",
            "cc",
            "unknownPolicy",
            "projectID",
        ]
    )
    assert "did you mean AT_MOST_ONCE?" in response.text
    assert house.dispatch.asked == []


async def test_an_answer_to_a_hostile_body_stays_small(house: House):
    """After 100 violations the rest is counted."""
    response = await house.client.post("/v1/messages", json={f"x{number}": 1 for number in range(5000)})

    assert len(fields(response)) == 101
    assert response.json()["details"]["violations"][-1]["description"] == "and 4900 more"


async def test_a_constant_of_the_route_can_be_repeated_but_not_contradicted(house: House):
    """`channel` on an email route may be EMAIL and nothing else."""
    refused = await house.client.post("/email/send", json={"to": "a@example.com", "channel": "SMS"})
    passed = await house.client.post("/email/send", json={"to": "a@example.com", "channel": "EMAIL"})

    assert fields(refused) == ["channel"]
    assert passed.status_code == 501


async def test_the_path_s_id_can_not_be_contradicted(house: House):
    """A PUT whose body names another id changes nothing."""
    response = await house.client.put("/email-config/providers/p-1", json={"id": "p-2", "name": "x"})

    assert fields(response) == ["id"]


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data", "application/json; charset=latin-1"])
async def test_only_json_is_read(house: House, kind: str):
    """415, whatever the body would have been."""
    response = await house.client.post(CREATE, content=b"{}", headers={"content-type": kind})

    assert reason(response, 415) == "CONTENT_TYPE_UNSUPPORTED"


async def test_a_compressed_body_is_refused(house: House):
    """415: nothing is inflated, so nothing can blow up."""
    headers = {"content-type": "application/json", "content-encoding": "gzip"}

    assert reason(await house.client.post(CREATE, content=b"x", headers=headers), 415) == "CONTENT_TYPE_UNSUPPORTED"


async def test_a_body_on_a_route_without_one_is_refused(house: House):
    """What a caller says must not be dropped in silence."""
    response = await house.client.request("DELETE", "/v1/providers/p-1", json={"force": True})

    assert reason(response, 400) == "BODY_NOT_EXPECTED"


async def test_a_configuration_over_1_mib_is_refused(house: House):
    """413 by its Content-Length, before it is read, and by its bytes when it comes in chunks."""
    large = b'{"name": "' + b"x" * MIB + b'"}'
    headers = {"content-type": "application/json"}

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 65536):
            yield large[start : start + 65536]

    assert reason(await house.client.post(CREATE, content=large, headers=headers), 413) == "BODY_TOO_LARGE"
    assert reason(await house.client.post(CREATE, content=chunks(), headers=headers), 413) == "BODY_TOO_LARGE"
    assert house.config.asked == []


async def test_what_a_body_says_may_be_too_large_although_the_body_is_not(house: House):
    """413 for text beyond MESSAGEPIPE_MAX_MESSAGE_BYTES and for settings that grow on the way; never "try later"."""
    text = {"to": "a@example.com", "text": "x" * (2 * MIB + 1000)}
    grows = b'{"provider": "smtp", "name": "x", "config": {"x": [' + b",".join([b"1"] * 200_000) + b"]}}"
    headers = {"content-type": "application/json"}

    assert reason(await house.client.post("/email/send", json=text), 413) == "BODY_TOO_LARGE"
    assert reason(await house.client.post(CREATE, content=grows, headers=headers), 413) == "BODY_TOO_LARGE"
    assert house.config.asked == house.dispatch.asked == []


async def test_a_message_may_be_larger_than_a_configuration(house: House):
    """Base64 of MESSAGEPIPE_MAX_MESSAGE_BYTES fits; much more does not."""
    fits = {"to": "a@example.com", "text": "x" * (MIB + 1000)}
    too_large = {"to": "a@example.com", "text": "x" * (3 * MIB)}

    assert (await house.client.post("/email/send", json=fits)).status_code == 501
    assert reason(await house.client.post("/email/send", json=too_large), 413) == "BODY_TOO_LARGE"


async def test_query_parameters_are_as_strict_as_bodies(house: House):
    """Wrong types, repetitions and unknown names: 400 naming each."""
    response = await house.client.get("/v1/messages?projectId=a&projectId=b&pageSize=ten&stat=SENT")

    assert fields(response) == ["projectId", "pageSize", "stat"]
    assert "did you mean state?" in response.text


async def test_request_timeout_must_be_seconds(house: House):
    """400 naming the header; a good value becomes the deadline of the RPC."""
    refused = await house.client.get("/v1/messages/m-1", headers={"request-timeout": "soon"})
    await house.client.get("/v1/messages/m-1", headers={"request-timeout": "2"})

    assert fields(refused) == ["Request-Timeout"]
    assert house.dispatch.last.seconds is not None
    assert 1 < house.dispatch.last.seconds < 3
