"""Signature Version 4 and AWS error answers, without a socket."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.adapters import aws
from services.adapters.aws import AwsError, Rule
from services.adapters.outcome import Outcome, Reason, Verdict
from tests.fakes.sigv4 import is_signed

KEYS = {
    "accessKeyId": "AKIDEXAMPLE",
    "secretAccessKey": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "region": "us-east-1",
}
NOW = datetime(2015, 8, 30, 12, 36, 0, tzinfo=UTC)
FORM = "application/x-www-form-urlencoded"


def _signed(url: str = "https://example.amazonaws.com/", body: bytes = b"Param1=value1", **more: Any) -> httpx.Request:
    values: dict[str, Any] = {"service": "service", "content_type": FORM, "config": KEYS, "now": NOW}
    return aws.signed_post(url, body=body, **{**values, **more})


def _is_signed(request: httpx.Request, config: dict[str, str], service: str = "service") -> bool:
    path = request.url.raw_path.decode()
    return is_signed(path, request.headers, request.content, secret=config["secretAccessKey"], service=service)


def test_the_published_test_vector_comes_out() -> None:
    """The request `post-x-www-form-urlencoded` of AWS's signature test suite gets the signature published there."""
    assert _signed().headers["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date, "
        "Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
    )


@given(
    body=st.binary(max_size=200),
    path=st.text("abcXYZ019-._~", max_size=20),
    token=st.text("abcXYZ019/+=", max_size=40),
    region=st.sampled_from(["eu-west-1", "us-gov-east-1", "cn-north-1"]),
)
def test_the_signature_covers_body_path_token_and_region(body: bytes, path: str, token: str, region: str) -> None:
    """Whatever the body, path, session token and region, the signature is what the specification computes."""
    config = {**KEYS, "region": region, **({"sessionToken": token} if token else {})}
    request = _signed(f"http://127.0.0.1:4566/{path}", body, config=config, service="ses")
    assert _is_signed(request, config, "ses")


def test_a_session_token_is_sent_and_signed() -> None:
    """Temporary keys carry their token in x-amz-security-token, under the signature."""
    request = _signed(config={**KEYS, "sessionToken": "FwoGZXIvYXdzEXAMPLE"})
    assert request.headers["x-amz-security-token"] == "FwoGZXIvYXdzEXAMPLE"
    assert "content-type;host;x-amz-date;x-amz-security-token," in request.headers["authorization"]


def test_the_date_is_utc_whatever_the_clock_is_in() -> None:
    """A clock in another time zone signs with the same moment in UTC."""
    elsewhere = NOW.astimezone(timezone(timedelta(hours=9)))
    assert _signed(now=elsewhere).headers["x-amz-date"] == "20150830T123600Z"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://vpce.example.com:443/", "vpce.example.com"),
        ("http://localhost:4566/", "localhost:4566"),
        ("http://[::1]:4566/", "[::1]:4566"),
        ("https://BÜCHER.example/", "xn--bcher-kva.example"),
    ],
)
def test_the_signed_host_is_the_one_sent(url: str, host: str) -> None:
    """The Host header is the URL's own host and port, default ports left out, so that signature and wire agree."""
    request = _signed(url)
    assert request.headers["host"] == host
    assert _is_signed(request, KEYS)


@pytest.mark.parametrize(
    ("config", "url"),
    [
        ({"region": "eu-west-1"}, "https://email.eu-west-1.amazonaws.com"),
        ({"region": "cn-north-1"}, "https://email.cn-north-1.amazonaws.com.cn"),
        ({"region": "eu-west-1", "endpointUrl": "http://127.0.0.1:4566/"}, "http://127.0.0.1:4566"),
    ],
)
def test_the_endpoint_is_the_regions_unless_overridden(config: dict[str, str], url: str) -> None:
    """`endpointUrl` wins; else the region names the host, under .com.cn for China."""
    assert aws.endpoint(config, "email") == url


@pytest.mark.parametrize(
    ("headers", "body", "error"),
    [
        (
            {"x-amzn-errortype": "BadRequestException:http://internal.amazon.com/coral/"},
            '{"message":"Missing domain"}',
            AwsError("BadRequestException", "Missing domain"),
        ),
        (
            {},
            '{"__type":"com.amazonaws#ThrottlingException","Message":"Slow"}',
            AwsError("ThrottlingException", "Slow"),
        ),
        ({}, '{"code":"X","message":null}', AwsError("X", "")),
        (
            {},
            "<Error><Code>InvalidParameter</Code><Message>Invalid parameter: &lt;PhoneNumber&gt;</Message></Error>",
            AwsError("InvalidParameter", "Invalid parameter: <PhoneNumber>"),
        ),
        ({}, "<html>Bad Gateway", AwsError("", "")),
        ({}, "[1]", AwsError("", "")),
        ({}, "", AwsError("", "")),
    ],
)
def test_errors_are_read_from_either_protocol(headers: dict[str, str], body: str, error: AwsError) -> None:
    """JSON and XML errors give the same two things, code and words; anything else gives neither and raises nothing."""
    assert aws.read_error(httpx.Response(400, headers=headers, text=body)) == error


@pytest.mark.parametrize(("code", "verdict"), aws.SHARED_CODES.items())
@pytest.mark.parametrize("status", [400, 403])
def test_shared_codes_decide_whatever_the_status(status: int, code: str, verdict: Verdict) -> None:
    """The same code comes with 400 from one service and 403 from the next, and means the same."""
    response = httpx.Response(status, json={"__type": code, "message": "words"})
    result = aws.refused(response, (), lambda word: word)
    assert (result.outcome, result.reason, result.provider_code) == (verdict.outcome, verdict.reason, code)


def test_a_wrong_clock_is_told_from_a_wrong_key() -> None:
    """AWS calls both a bad signature; the words of an expired one name our clock."""
    words = "Signature expired: 20260101T000000Z is now earlier than 20260101T001500Z"
    response = httpx.Response(403, json={"__type": "InvalidSignatureException", "message": words})
    assert aws.refused(response, (), lambda word: word).reason == Reason.CLOCK_SKEW


def test_a_kinds_own_rule_comes_first() -> None:
    """A rule of the kind wins over the shared codes, and its scope word is made into a scope."""
    rule = Rule("Throttling", "DAILY", Verdict(Outcome.DENIED, Reason.QUOTA_EXCEEDED, "country"))
    response = httpx.Response(400, json={"__type": "Throttling", "message": "Daily quota"})
    result = aws.refused(response, (rule,), lambda word: f"{word}:NG")
    assert (result.outcome, result.scope) == (Outcome.DENIED, "country:NG")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(400, Outcome.UNFIT), (403, Outcome.DENIED), (500, Outcome.UNKNOWN), (503, Outcome.DEFERRED)],
)
def test_an_unknown_code_is_decided_by_status(status: int, outcome: Outcome) -> None:
    """A code nobody knows falls back to the HTTP status, and its words are kept."""
    result = aws.refused(httpx.Response(status, json={"__type": "Novel", "message": "new words"}), (), str)
    assert (result.outcome, result.provider_code, result.provider_text) == (outcome, "Novel", "new words")
