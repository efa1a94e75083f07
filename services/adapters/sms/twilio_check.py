"""Whether Twilio credentials are good (providers.md §5.6): the account and its balance, or a list of messages."""

import httpx

from services.adapters.check import CheckResult, Rehearsal, bad, cannot_verify, good, notes
from services.adapters.http import json_object
from services.adapters.http_check import Check, refused, said, unclear
from services.adapters.identity import Ask
from services.adapters.sms.twilio import credentials, resource_url

# Magic numbers: with test credentials +15005550006 may send and nothing goes out; with live ones it is not ours and
# the request is refused. The recipient is one of those kept free for fiction.
REHEARSAL = Rehearsal(sender="+15005550006", recipient="+14155550100")


async def probe(ask: Ask, check: Check) -> CheckResult:
    """GOOD when the account is active. An API key, which may not read the account, has to be able to list messages."""
    return await (_by_messages(ask, check) if check.config.get("apiKeySid") else _by_account(ask, check))


async def _by_account(ask: Ask, check: Check) -> CheckResult:
    response = await ask(_get(check, ".json"))
    match response.status_code:
        case 200:
            account = json_object(response)
        case 401:
            return refused(response)
        case 403:
            return cannot_verify(
                f"Twilio knows the credentials, but they may not read the account, as test credentials may not: "
                f"{said(response)}"
            )
        case 404 if json_object(response).get("code"):
            return bad(f"Twilio does not know the account: {said(response)}")
        case _:
            return unclear(response)
    status = account.get("status")
    if not status:
        return unclear(response)
    if status != "active":
        return bad(f"Twilio knows the credentials, but the account is {status}.")
    trial = notes({"It is a trial account: it reaches verified numbers only.": account.get("type") == "Trial"})
    return good(f"Twilio knows the credentials, and the account is active.{trial}{await _balance(ask, check)}")


async def _by_messages(ask: Ask, check: Check) -> CheckResult:
    response = await ask(_get(check, "/Messages.json?PageSize=1"))
    match response.status_code:
        case 200 if "messages" in json_object(response):
            return good(f"Twilio knows the API key.{await _balance(ask, check)}")
        case 401:
            return refused(response)
        case 403:
            return cannot_verify(f"Twilio knows the API key, but it may not list messages: {said(response)}")
    return unclear(response)


async def _balance(ask: Ask, check: Check) -> str:
    """A warning when nothing is left; subaccounts and restricted keys may not ask."""
    response = await ask(_get(check, "/Balance.json"))
    body = json_object(response) if response.is_success else {}
    try:
        empty = float(body.get("balance", "1")) <= 0
    except (TypeError, ValueError):
        return ""
    return f" Its balance is {body.get('balance')} {body.get('currency', '')}: top it up." if empty else ""


def _get(check: Check, path: str) -> httpx.Request:
    request = httpx.Request("GET", f"{resource_url(check.config)}{path}")
    return next(httpx.BasicAuth(*credentials(check.config)).auth_flow(request))
