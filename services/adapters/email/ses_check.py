"""Whether keys can send through SES (providers.md §3.6): account, sender's identity, else whose they are."""

from typing import Any
from urllib.parse import quote

import httpx

from services.adapters import aws
from services.adapters.aws_check import by_identity, words
from services.adapters.check import CheckResult, Rehearsal, bad, good, notes
from services.adapters.http import json_object
from services.adapters.http_check import Check, unclear
from services.adapters.identity import Ask

# The mailbox simulator: works in a sandbox account too, leaves the reputation alone, is billed.
REHEARSAL = Rehearsal(recipient="success@simulator.amazonses.com")


# What the transport writes unquoted into a path (RFC 3986 §3.3): what is signed must be what is sent.
AS_IT_IS = "@!$&'*+,;=:"


async def probe(ask: Ask, check: Check) -> CheckResult:
    """GOOD when the account may send and the sender, where one is known, is verified in this region."""
    response = await ask(_get(check, "/v2/email/account"))
    if not response.is_success:
        return await by_identity(ask, check, response)
    account = json_object(response)
    if "SendingEnabled" not in account:
        return unclear(response)
    if not account["SendingEnabled"] or account.get("EnforcementStatus") == "SHUTDOWN":
        return bad("SES knows the keys, but sending is switched off for the account in this region.")
    sender = check.sender or str(check.config.get("fromEmail") or "")
    return await _sender_verified(ask, check, sender, _account_notes(account))


def _account_notes(account: dict[str, Any]) -> str:
    return notes(
        {
            "The account is in the sandbox: it reaches verified recipients only.": account.get(
                "ProductionAccessEnabled"
            )
            is False,
            "The account is on probation.": account.get("EnforcementStatus") == "PROBATION",
        }
    )


async def _sender_verified(ask: Ask, check: Check, sender: str, noted: str) -> CheckResult:
    """By the address, then its domain, then each parent of that: a verified domain covers all below it."""
    known = good(f"SES knows the keys, and the account may send in this region.{noted}")
    if "@" not in sender:
        return known
    for identity in _identities(sender):
        response = await ask(_get(check, f"/v2/email/identities/{quote(identity, safe=AS_IT_IS)}"))
        if response.is_success and json_object(response).get("VerifiedForSendingStatus"):
            return good(f"SES knows the keys, the account may send, and {identity} is verified.{noted}")
        if not response.is_success and aws.read_error(response).code != "NotFoundException":
            return good(f"{known.message} Whether {sender} is verified could not be asked: {words(response)}")
    return bad(f"SES knows the keys, but neither {sender} nor its domain is verified in this region.{noted}")


def _identities(sender: str) -> list[str]:
    domain = sender.rpartition("@")[2]
    labels = domain.split(".")
    # Other calls than sending may be made once a second (providers.md §3.6): three tries, not one per label.
    return [sender, *(".".join(labels[start:]) for start in range(max(1, len(labels) - 1)))][:3]


def _get(check: Check, path: str) -> httpx.Request:
    url = f"{aws.endpoint(check.config, 'email')}{path}"
    return aws.signed_request("GET", url, service="ses", config=check.config, now=check.now)
