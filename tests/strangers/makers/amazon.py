"""What requests to all of Amazon's services share: the library's client, and a signature as a meaning."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import boto3
from botocore.config import Config

from tests.fakes.sigv4 import is_signed
from tests.fakes.vendor import Received
from tests.strangers.meaning import ACCEPT, AGENT, Exempt, envelope

REGION = "eu-west-1"
ACCESS_KEY, SECRET, TOKEN = "AKIDEXAMPLE", "a/secret+key", "a+session/token=="
KEYS = {"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET, "region": REGION}

EXEMPT = (
    ACCEPT,
    AGENT,
    Exempt("header amz-sdk-invocation-id", "theirs", "lets AWS tell the library's resends apart; we never resend"),
    Exempt("header amz-sdk-request", "theirs", "counts the library's resends"),
)


@lru_cache(maxsize=1)
def session() -> boto3.Session:
    """One session: it keeps the service models, which take long to load."""
    return boto3.Session()


def client(service: str, url: str, *, token: str | None = None, region: str = REGION, **keys: str) -> Any:
    """The library's client of this service, sending to this address once."""
    return session().client(
        service,
        region_name=region,
        endpoint_url=url,
        aws_access_key_id=keys.get("access_key", ACCESS_KEY),
        aws_secret_access_key=keys.get("secret", SECRET),
        aws_session_token=token,
        config=Config(retries={"total_max_attempts": 1}),
    )


def signed_envelope(received: Received, service: str) -> dict[str, Any]:
    """The request's fields outside its body; date and signature need not be equal, but fresh and right."""
    fields = envelope(received)
    dated = datetime.strptime(fields.pop("header x-amz-date"), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - dated) < timedelta(minutes=5)
    given = re.fullmatch(
        r"(AWS4-HMAC-SHA256) Credential=([^/]+)/\d{8}/([^,]+), SignedHeaders=([^,]+), Signature=\w{64}",
        fields.pop("header authorization"),
    )
    assert given is not None
    assert is_signed(received.path, received.headers, received.body, secret=SECRET, service=service)
    return fields | {"signed as": given.groups()[:3], "signed headers": given[4]}


def session_token(settings: Mapping[str, Any]) -> str | None:
    """The token of a case, for the library."""
    token: str | None = settings.get("sessionToken")
    return token
