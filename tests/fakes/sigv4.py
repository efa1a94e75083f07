"""Checks AWS Signature Version 4 as AWS would. Not botocore code: no mistake of signing can hide in both ends."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import quote

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<scope>[^,]+), "
    r"SignedHeaders=(?P<names>[^,]+), Signature=(?P<sign>\w+)"
)


def is_signed(
    path: str, headers: Mapping[str, str], body: bytes, *, secret: str, service: str, method: str = "POST"
) -> bool:
    """Whether this request without a query bears the signature of `secret` for `service`; header names in lower case.

    Host, date and, if there is one, content type of a body and session token must be under the signature.
    """
    given = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if given is None:
        return False
    names = given["names"].split(";")
    optional = {"content-type", "x-amz-security-token"} if body else {"x-amz-security-token"}
    needed = {"host", "x-amz-date"} | optional & headers.keys()
    stamp, scope = headers["x-amz-date"], given["scope"]
    if not needed <= set(names) or names != sorted(names) or not scope.startswith(stamp[:8]):
        return False
    signed = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in names)
    canonical = "\n".join(
        (method, quote(path, safe="/~"), "", signed, ";".join(names), hashlib.sha256(body).hexdigest())
    )
    text = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex() == given["sign"] and scope.split("/")[2] == service
