"""What the checks of SES and SNS share: what an AWS error says of the keys, and asking STS whose they are."""

from typing import Any
from urllib.parse import urlencode

import httpx

from services.adapters import aws
from services.adapters.check import CheckResult, bad, cannot_verify
from services.adapters.http_check import Check, said, unclear
from services.adapters.identity import Ask
from services.adapters.outcome import Outcome, Reason

FORM = "application/x-www-form-urlencoded; charset=utf-8"


def query(check: Check, service: str, action: str, version: str) -> httpx.Request:
    """A signed call of the query protocol without arguments."""
    return aws.signed_post(
        f"{aws.endpoint(check.config, service)}/",
        service=service,
        body=urlencode([("Action", action), ("Version", version)]).encode(),
        content_type=FORM,
        config=check.config,
        now=check.now,
    )


def words(response: httpx.Response) -> str:
    """An error's status, code and words."""
    error = aws.read_error(response)
    return said(response, ": ".join(filter(None, error)))


def keys_refused(response: httpx.Response) -> CheckResult | None:
    """BAD when the error says that the keys, or this host's clock, are wrong; None when it says something else."""
    verdict = aws.find_verdict(aws.read_error(response), ())
    if verdict is None or verdict.outcome is not Outcome.DENIED or verdict.reason is Reason.PERMISSION:
        return None
    if verdict.reason is Reason.CLOCK_SKEW:
        return cannot_verify(f"This host's clock is wrong, so AWS checks no signature: {words(response)}")
    return bad(f"AWS refuses the keys: {words(response)}")


async def by_identity(ask: Ask, check: Check, before: httpx.Response) -> CheckResult:
    """For keys that may not ask what was asked `before`: STS knows every good key, whatever its policy.

    A good key that may do nothing but send is CANNOT_VERIFY, not BAD (providers.md §3.6).
    """
    if refusal := keys_refused(before):
        return refusal
    response = await ask(query(check, "sts", "GetCallerIdentity", "2011-06-15"))
    if response.is_success and aws.xml_text(response.text, "Arn"):
        return cannot_verify(
            f"AWS knows the keys ({aws.xml_text(response.text, 'Arn')}), but they may not ask whether they can send: "
            f"{words(before)}"
        )
    return keys_refused(response) or unclear(before, words(before))


def is_true(value: Any) -> bool:
    """A boolean as either protocol writes it."""
    return value is True or str(value).lower() == "true"
