"""Whether a Termii key is good (providers.md §6.6): the balance, then the sender id's approval."""

from collections.abc import Iterator
from typing import Any

import httpx

from services.adapters.check import CheckResult, bad, cannot_verify, good
from services.adapters.http import json_object
from services.adapters.http_check import Check, refused, said, unclear
from services.adapters.identity import Ask
from services.adapters.sms.termii import base_url

_WAITING_OR_REFUSED = ("pending", "block", "reject", "declin", "disapprov")


async def probe(ask: Ask, check: Check) -> CheckResult:
    """GOOD when the key shows a balance and the sender id is listed and neither waiting nor refused."""
    response = await ask(_get(check, "get-balance"))
    body = json_object(response)
    if response.is_success and "balance" in body:
        return await _by_sender(ask, check, _balance(body))
    if response.status_code in (401, 403):
        return refused(response)
    return unclear(response)


def _balance(body: dict[str, Any]) -> str:
    try:
        empty = float(body["balance"]) <= 0
    except (TypeError, ValueError):
        return ""
    return " Its balance is used up: top it up." if empty else ""


async def _by_sender(ask: Ask, check: Check, noted: str) -> CheckResult:
    ours = str(check.config["senderId"])
    response = await ask(_get(check, "sender-id"))
    if not response.is_success:
        return cannot_verify(f"Termii knows the key, but not whether {ours} is approved: {said(response)}{noted}")
    status = next((status for name, status in _senders(json_object(response)) if name == ours.casefold()), None)
    if status is None:
        return cannot_verify(f"Termii knows the key, but the sender ids it lists do not include {ours}.{noted}")
    # "unblock" is the word for an approved one
    if status != "unblock" and any(word in status for word in _WAITING_OR_REFUSED):
        return bad(f"Termii knows the key, but the sender id {ours} is not approved ({status}).{noted}")
    return good(f"Termii knows the key and the sender id {ours}.{noted}")


def _senders(body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every listed sender id and its status, in lower case; the list is `data`, newer accounts say `content`."""
    listed = body.get("data") or body.get("content")
    for each in listed if isinstance(listed, list) else []:
        if isinstance(each, dict):
            yield str(each.get("sender_id") or "").casefold(), str(each.get("status") or "").casefold()


def _get(check: Check, name: str) -> httpx.Request:
    # The key in the query is Termii's way. Nobody logs our URLs, and `clean` takes it out of what is quoted back.
    return httpx.Request("GET", f"{base_url(check.config)}/api/{name}", params={"api_key": str(check.config["apiKey"])})
