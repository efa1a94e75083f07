"""Which headers mean something."""

import pytest
from starlette.datastructures import Headers

from gateway import headers
from services.chassis.errors import InvalidArgument, Unauthenticated

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_token_is_read_whatever_the_scheme_s_case():
    """RFC 7235: the scheme is case-insensitive."""
    assert headers.bearer(Headers({"authorization": "bearer  abc"})) == "abc"
    assert headers.bearer(Headers({})) == ""


@pytest.mark.parametrize("value", ["Basic abc", "abc", ""])
def test_another_scheme_is_refused(value: str):
    """It is not taken for a missing token."""
    with pytest.raises(Unauthenticated):
        headers.bearer(Headers({"authorization": value}))


def test_two_authorization_headers_are_refused():
    """Nobody could say which one counts."""
    with pytest.raises(Unauthenticated):
        headers.bearer(Headers(raw=[(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")]))


KEY = "mzl_" + "a" * 40


def test_an_api_key_is_read_when_it_has_the_form():
    """One header, and no token beside it."""
    assert headers.api_key(Headers({"x-api-key": KEY})) == KEY
    assert headers.api_key(Headers({"authorization": "Bearer t"})) is None
    with pytest.raises(Unauthenticated, match="not both"):
        headers.api_key(Headers({"x-api-key": KEY, "authorization": "Bearer t"}))
    with pytest.raises(Unauthenticated) as caught:
        headers.api_key(Headers(raw=[(b"x-api-key", KEY.encode()), (b"x-api-key", KEY.encode())]))
    assert caught.value.reason == "KEY_INVALID"


def test_metadata_holds_only_what_it_must():
    """A trace goes on when it is well-formed."""
    given = Headers({"traceparent": TRACE, "tracestate": "a=1", "cookie": "x", "x-forwarded-for": "1.2.3.4"})

    assert headers.metadata(given, ("authorization", "Bearer t"), "r") == (
        ("authorization", "Bearer t"),
        ("x-request-id", "r"),
        ("traceparent", TRACE),
        ("tracestate", "a=1"),
    )
    assert len(headers.metadata(Headers({"traceparent": "x", "tracestate": "a=1"}), ("x-api-key", KEY), "r")) == 2


@pytest.mark.parametrize(("value", "seconds"), [("1", 1.0), ("0.5", 0.5), ("300", 300.0)])
def test_request_timeout_is_seconds(value: str, seconds: float):
    """At most five minutes."""
    assert headers.timeout(Headers({"request-timeout": value}), 30.0) == seconds


@pytest.mark.parametrize("value", ["", "0", "-1", "301", "1e3", "nan", "5s"])
def test_a_bad_request_timeout_is_refused(value: str):
    """With the header's name."""
    with pytest.raises(InvalidArgument, match="Request-Timeout"):
        headers.timeout(Headers({"request-timeout": value}), 30.0)


def test_the_default_timeout_is_the_route_s():
    """None stays none."""
    assert headers.timeout(Headers({}), 30.0) == 30.0
    assert headers.timeout(Headers({}), None) is None


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, False),
        ("*/*", False),
        ("text/event-stream", False),
        ("application/json", True),
        ("application/json, text/event-stream", False),
    ],
)
def test_a_stream_is_json_only_when_asked(accept: str | None, expected: bool):
    """curl and browsers get the stream."""
    assert headers.wants_json(Headers({"accept": accept} if accept else {})) is expected


def test_respond_async_is_one_preference_among_others():
    """RFC 7240: several headers, several words, parameters."""
    assert headers.responds_async(Headers({"prefer": "wait=10, Respond-Async; x=1"}))
    assert not headers.responds_async(Headers({"prefer": "respond-asynchronous"}))


def test_a_request_id_is_kept_when_it_is_plain():
    """Everything else would end up in logs."""
    assert headers.request_id(Headers({"x-request-id": "a.b:c_d-1"})) == "a.b:c_d-1"
    assert len(headers.request_id(Headers({"x-request-id": "a\nb"}))) == 32
    assert headers.request_id(Headers({})) != headers.request_id(Headers({}))
