"""The header that carries the token; everything else about RPCs is tested against a real server."""

import pytest

from services.chassis.authenticator import bearer_token
from services.chassis.errors import Unauthenticated


@pytest.mark.parametrize(
    ("metadata", "token"),
    [
        ([], ""),
        ([("x-other", "Bearer a")], ""),
        ([("authorization", "Bearer abc")], "abc"),
        ([("authorization", "bearer  abc")], "abc"),
        ([("authorization", "Bearer")], ""),
    ],
)
def test_the_bearer_token(metadata, token):
    """The scheme's case does not matter, and no header is no token."""
    assert bearer_token(metadata) == token


@pytest.mark.parametrize(
    "metadata",
    [
        [("authorization", "Basic abc")],
        [("authorization", "abc")],
        [("authorization", "Bearer a"), ("authorization", "Bearer b")],
    ],
)
def test_ambiguous_headers_are_refused(metadata):
    """Another scheme, or two headers, is an invalid token and not a missing one."""
    with pytest.raises(Unauthenticated) as caught:
        bearer_token(metadata)
    assert caught.value.reason == "TOKEN_INVALID"
