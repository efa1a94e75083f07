"""Whether a SendGrid key is good (providers.md §1.6): it lists its own scopes, or sends in sandbox mode."""

import httpx

from services.adapters.base import Address, Call, EmailContent
from services.adapters.check import CheckResult, Rehearsal, bad, cannot_verify, good, of_send, words_of
from services.adapters.email.sendgrid import BASE_URL, build, read
from services.adapters.http import json_object
from services.adapters.http_check import Check, refused, said, unclear
from services.adapters.identity import Ask
from services.adapters.outcome import Result

# RFC 2606 §3: nobody lives there, should sandbox mode ever be ignored.
REHEARSAL = Rehearsal(recipient="messagepipe-test@example.com", settings={"sandboxMode": True})


async def probe(ask: Ask, check: Check) -> CheckResult:
    """GOOD when the key has the scope mail.send. A key that may not list its scopes sends in sandbox mode instead."""
    headers = {"authorization": f"Bearer {check.config['apiKey']}"}
    if on_behalf_of := check.config.get("onBehalfOf"):
        headers["on-behalf-of"] = str(on_behalf_of)
    base = str(check.config.get("baseUrl") or BASE_URL).rstrip("/")
    response = await ask(httpx.Request("GET", f"{base}/v3/scopes", headers=headers))
    match response.status_code:
        case 200:
            return _by_scopes(response)
        case 401:
            return refused(response)
        case 403:
            return await _by_sandbox(ask, check, response)
    return unclear(response)


def _by_scopes(response: httpx.Response) -> CheckResult:
    scopes = json_object(response).get("scopes")
    if not isinstance(scopes, list):
        return unclear(response)
    if "mail.send" in scopes:
        return good("SendGrid knows the key, and it has the scope mail.send.")
    return bad("SendGrid knows the key, but it lacks the scope mail.send.")


async def _by_sandbox(ask: Ask, check: Check, before: httpx.Response) -> CheckResult:
    call = _rehearsed(check)
    request = build(call)
    if isinstance(request, Result):
        return cannot_verify(
            f"The key may not list its scopes ({said(before)}), and without a sender there is nothing to try in "
            f"sandbox mode: {request.provider_text}"
        )
    result = read(await ask(request), call)
    unknown = cannot_verify(
        f"The key may not list its scopes, and a message in sandbox mode proved nothing: {words_of(result)}"
    )
    return of_send(result, unknown)


def _rehearsed(check: Check) -> Call:
    content = EmailContent(
        sender=Address(email=check.sender) if check.sender else None,
        to=Address(email=REHEARSAL.recipient),
        subject="MessagePipe test",
        text="A test in sandbox mode.",
    )
    return Call(
        message_id="messagepipe-check",
        attempt=1,
        content=content,
        config={**check.config, **REHEARSAL.settings},
        provider_id="",
        config_version=0,
        timeout=0,  # the checker's own limit holds
        time_left=0,
    )
