"""What SES and SNS share: settings, Signature Version 4, error codes. Not a client: the HTTP template sends.

Why no aiobotocore client, though it is the usual way: we sign with botocore's own `SigV4Auth` and send over the
shared transport, so

- one attempt is one request by construction; a default client resends up to five times (providers.md §0.3);
- egress is checked at connect time by the one connector that all kinds use, and transport failures become outcomes
  by the one table;
- the import costs 7 MB and 0.1 s instead of 22 MB and 0.4 s, before the service models that each client loads.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from html import unescape
from json import loads
from typing import Any, NamedTuple

import httpx

from services.adapters.http import by_status
from services.adapters.outcome import Outcome, Reason, Result, Verdict

REGION_PATTERN = r"^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$"
PARTITION = "aws(-[a-z]+){0,2}"  # of an ARN: aws, aws-cn, aws-us-gov, aws-eusc, aws-iso-b …
# By the start of the region's name, as botocore's partitions.json has them; everywhere else it is amazonaws.com.
DNS_SUFFIXES: Mapping[str, str] = {
    "cn-": "amazonaws.com.cn",
    "eusc-": "amazonaws.eu",
    "us-iso-": "c2s.ic.gov",
    "us-isob-": "sc2s.sgov.gov",
    "us-isof-": "csp.hci.ic.gov",
    "eu-isoe-": "cloud.adc-e.uk",
}

SETTINGS: Mapping[str, Any] = {
    "accessKeyId": {
        "type": "string",
        "title": "Access key id",
        "description": (
            "Of an IAM user that may send, or may take the role below; starts with AKIA, or ASIA for temporary keys."
        ),
        "minLength": 1,
        "maxLength": 128,
        "pattern": "^[A-Za-z0-9_-]+$",
        "errorMessage": "must be letters and digits",
        "writeOnly": True,
        "examples": ["AKIAIOSFODNN7EXAMPLE"],
    },
    "secretAccessKey": {
        "type": "string",
        "title": "Secret access key",
        "description": "The secret that belongs to the access key id.",
        "minLength": 1,
        "maxLength": 256,
        "pattern": "^[!-~]+$",
        "errorMessage": "must be a key without spaces",
        "writeOnly": True,
    },
    "sessionToken": {
        "type": "string",
        "title": "Session token",
        "description": "Only with temporary keys. They expire: sending is then denied until new ones are set.",
        "minLength": 1,
        "maxLength": 4096,
        "pattern": "^[!-~]+$",
        "errorMessage": "must be a token without spaces",
        "writeOnly": True,
    },
    "hostCredentials": {
        "type": "boolean",
        "title": "This host's own credentials",
        "description": (
            "Instead of keys: what AWS's default chain finds on the machine that sends (environment, shared files, "
            "container or instance role). Only where its operator has set MESSAGEPIPE_ALLOW_HOST_AWS_CREDENTIALS."
        ),
        "const": True,
        "examples": [True],
    },
    "roleArn": {
        "type": "string",
        "title": "Role",
        "description": "A role to take (sts:AssumeRole) with these credentials and to send as; renewed by itself.",
        "pattern": rf"^arn:{PARTITION}:iam::[0-9]{{12}}:role/[!-~]{{1,512}}$",
        "errorMessage": "must be the ARN of a role",
        "examples": ["arn:aws:iam::123456789012:role/messagepipe"],
    },
    "externalId": {
        "type": "string",
        "title": "External id",
        "description": "Only if the role's trust policy asks for one.",
        "pattern": r"^[A-Za-z0-9+=,.@:/-]{2,1224}$",
        "errorMessage": "must be 2 to 1224 letters, digits or +=,.@:/-",
        "examples": ["tenant-7"],
    },
    "stsEndpointUrl": {
        "type": "string",
        "title": "STS endpoint",
        "description": "Only to take the role somewhere other than the region's own endpoint.",
        "format": "uri",
        "examples": ["http://127.0.0.1:4566"],
    },
    "region": {
        "type": "string",
        "title": "Region",
        "description": "The AWS region to send from: identities, quotas and sender ids belong to one region.",
        "pattern": REGION_PATTERN,
        "errorMessage": "must be an AWS region such as eu-west-1",
        "examples": ["us-east-1", "eu-west-1"],
    },
    "endpointUrl": {
        "type": "string",
        "title": "Endpoint",
        "description": "Only to send to something other than the region's own endpoint: an emulator, a VPC endpoint.",
        "format": "uri",
        "examples": ["http://127.0.0.1:4566"],
    },
}
RULES_OF_SETTINGS: Mapping[str, Any] = {
    "required": ["region"],
    "oneOf": [{"required": ["accessKeyId"]}, {"required": ["hostCredentials"]}],
    "dependentRequired": {
        "accessKeyId": ["secretAccessKey"],
        "secretAccessKey": ["accessKeyId"],
        "sessionToken": ["accessKeyId"],
        "externalId": ["roleArn"],
        "stsEndpointUrl": ["roleArn"],
    },
}


def endpoint(config: Mapping[str, Any], host: str) -> str:
    """The base address to send to, without a final slash: `endpointUrl`, else the region's own."""
    if override := config.get("endpointUrl"):
        return str(override).rstrip("/")
    return f"https://{host}.{config['region']}.{dns_suffix(config['region'])}"


def dns_suffix(region: str) -> str:
    """What the names of all hosts of this region end with."""
    return next((suffix for start, suffix in DNS_SUFFIXES.items() if region.startswith(start)), "amazonaws.com")


def signed_post(
    url: str, *, service: str, body: bytes, content_type: str, config: Mapping[str, Any], now: datetime
) -> httpx.Request:
    """A POST signed for `service` in the configured region. AWS refuses it when `now` is over 15 minutes wrong."""
    return signed_request("POST", url, service=service, config=config, now=now, body=body, content_type=content_type)


def signed_request(
    method: str,
    url: str,
    *,
    service: str,
    config: Mapping[str, Any],
    now: datetime,
    body: bytes = b"",
    content_type: str = "",
) -> httpx.Request:
    """The same for any method; adapters only POST, a check may GET."""
    # imported here: ConfigService reads this module's settings schema and never signs
    from botocore.auth import SIGV4_TIMESTAMP, SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import ReadOnlyCredentials

    target = httpx.URL(url)
    stamp = now.astimezone(UTC).strftime(SIGV4_TIMESTAMP)
    headers = {"Host": target.netloc.decode(), "X-Amz-Date": stamp}
    if content_type:
        headers["Content-Type"] = content_type
    token = config.get("sessionToken")
    if token:
        headers["X-Amz-Security-Token"] = token
    unsigned = AWSRequest(method=method, url=str(target), headers=headers, data=body)
    unsigned.context["timestamp"] = stamp
    # The steps of SigV4Auth.add_auth, which reads the system clock and writes the session token into its debug log.
    keys = ReadOnlyCredentials(config["accessKeyId"], config["secretAccessKey"], token)
    signer = SigV4Auth(keys, service, config["region"])
    to_sign = signer.string_to_sign(unsigned, signer.canonical_request(unsigned))
    headers["Authorization"] = ", ".join(
        (
            f"AWS4-HMAC-SHA256 Credential={signer.scope(unsigned)}",
            f"SignedHeaders={signer.signed_headers(signer.headers_to_sign(unsigned))}",
            f"Signature={signer.signature(to_sign, unsigned)}",
        )
    )
    return httpx.Request(method, target, headers=headers, content=body)


class AwsError(NamedTuple):
    """The code and the words of an AWS error answer; empty where it has none."""

    code: str
    message: str


def read_error(response: httpx.Response) -> AwsError:
    """An error of either protocol: JSON (`x-amzn-errortype`, `__type`, `message`) or XML (`<Code>`, `<Message>`)."""
    found = _json_error(response.text) or _xml_error(response.text)
    code = response.headers.get("x-amzn-errortype", "") or found.code
    # "ns#BadRequestException:http://internal.amazon.com/…" → "BadRequestException"
    return AwsError(code.split(":")[0].rpartition("#")[2].strip(), found.message)


def _json_error(text: str) -> AwsError | None:
    try:
        body = loads(text)
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    words = (str(body.get(key) or "") for key in ("message", "Message", "errorMessage"))
    return AwsError(str(body.get("__type") or body.get("code") or ""), next(filter(None, words), ""))


def _xml_error(text: str) -> AwsError:
    return AwsError(xml_text(text, "Code"), xml_text(text, "Message"))


def xml_text(text: str, tag: str) -> str:
    """The text of the first `<tag>`; "" for none. By pattern: no entities to expand, and half an answer reads."""
    found = re.search(rf"<{tag}>([^<]*)</{tag}>", text)
    return unescape(found[1]).strip() if found else ""


class Rule(NamedTuple):
    """One row of a table of errors: first whose code equals (`*` = any) and whose text is contained, in any case."""

    code: str
    text: str
    verdict: Verdict


def find_verdict(error: AwsError, rules: Iterable[Rule]) -> Verdict | None:
    """What the kind's own rules, then the codes all AWS services share, say; None if none knows this error."""
    words = error.message.casefold()
    for rule in (*rules, *SHARED_TEXTS):
        if rule.code in ("*", error.code) and rule.text.casefold() in words:
            return rule.verdict
    return SHARED_CODES.get(error.code)


def refused(response: httpx.Response, rules: Iterable[Rule], scope_of: Callable[[str], str]) -> Result:
    """What a refusal means: by the rules, else by HTTP status. `scope_of` makes "country" into "country:NG"."""
    error = read_error(response)
    verdict = find_verdict(error, rules) or by_status(response.status_code)
    return Result(
        outcome=verdict.outcome,
        reason=verdict.reason,
        provider_code=error.code or str(response.status_code),
        provider_text=error.message or response.text,
        scope=scope_of(verdict.scope) if verdict.scope else "",
    )


_CREDENTIALS = Verdict(Outcome.DENIED, Reason.CREDENTIALS)
_PERMISSION = Verdict(Outcome.DENIED, Reason.PERMISSION)
_THROTTLED = Verdict(Outcome.DEFERRED, Reason.RATE_LIMITED)
_UNAVAILABLE = Verdict(Outcome.DEFERRED, Reason.UNAVAILABLE)
_SERVER_ERROR = Verdict(Outcome.UNKNOWN, Reason.SERVER_ERROR)

# A clock that is wrong comes back as a bad signature; only the words tell it from a wrong key.
SHARED_TEXTS = (
    Rule("*", "signature expired", Verdict(Outcome.DENIED, Reason.CLOCK_SKEW)),
    Rule("*", "signature not yet current", Verdict(Outcome.DENIED, Reason.CLOCK_SKEW)),
)

# providers.md §0.3, "Codes shared by SES and SNS". By code alone: the same one comes as 400 from one service, 403 from
# the next.
SHARED_CODES: Mapping[str, Verdict] = {
    "AccessDeniedException": _PERMISSION,
    "AccessDenied": _PERMISSION,
    "AuthorizationError": _PERMISSION,
    "InvalidClientTokenId": _CREDENTIALS,
    "UnrecognizedClientException": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "InvalidSignatureException": _CREDENTIALS,
    "IncompleteSignature": _CREDENTIALS,
    "MissingAuthenticationToken": _CREDENTIALS,
    "ExpiredTokenException": _CREDENTIALS,
    "ExpiredToken": _CREDENTIALS,
    "RequestExpired": Verdict(Outcome.DENIED, Reason.CLOCK_SKEW),
    "OptInRequired": Verdict(Outcome.DENIED, Reason.ACCOUNT_SUSPENDED),
    "SubscriptionRequiredException": Verdict(Outcome.DENIED, Reason.ACCOUNT_SUSPENDED),
    "Throttling": _THROTTLED,
    "ThrottlingException": _THROTTLED,
    "Throttled": _THROTTLED,
    "RequestThrottled": _THROTTLED,
    "TooManyRequestsException": _THROTTLED,
    "RequestLimitExceeded": _THROTTLED,
    "SlowDown": _THROTTLED,
    "ServiceUnavailable": _UNAVAILABLE,
    "ServiceUnavailableException": _UNAVAILABLE,
    "InternalFailure": _SERVER_ERROR,
    "InternalError": _SERVER_ERROR,
    "InternalServiceErrorException": _SERVER_ERROR,
}
