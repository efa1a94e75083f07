"""Whether a Mailgun key and domain are good (providers.md §2.6): the domain's state, or a message to nobody."""

from base64 import b64encode

import httpx

from services.adapters.check import CheckResult, Rehearsal, bad, good
from services.adapters.email.mailgun import base_url
from services.adapters.http import json_object
from services.adapters.http_check import Check, refused, said, unclear
from services.adapters.identity import Ask

# RFC 2606 §3. In test mode Mailgun accepts, logs and charges, and delivers nothing.
REHEARSAL = Rehearsal(recipient="messagepipe-test@example.com", settings={"testMode": True})

_NO_RECIPIENT = "to parameter is missing"


async def probe(ask: Ask, check: Check) -> CheckResult:
    """GOOD when the domain is active. A domain sending key can not read that: it tries a message without recipient."""
    domain, headers = check.config["domain"], _headers(check)
    response = await ask(httpx.Request("GET", f"{base_url(check.config)}/v4/domains/{domain}", headers=headers))
    match response.status_code:
        case 200:
            return _by_state(response)
        case 401 | 403:
            return await _to_nobody(ask, check)
    return _unknown_domain(response) or unclear(response)


def _headers(check: Check) -> dict[str, str]:
    credentials = b64encode(f"api:{check.config['apiKey']}".encode()).decode()
    return {"authorization": f"Basic {credentials}"}


def _by_state(response: httpx.Response) -> CheckResult:
    domain = json_object(response).get("domain")
    if not isinstance(domain, dict) or not domain.get("state"):
        return unclear(response)  # a wrong path is a 200 too (providers.md §2.3)
    if domain.get("is_disabled") or domain["state"] == "disabled":
        return bad("Mailgun knows the key, but the domain is disabled.")
    if domain["state"] != "active":
        return bad(f"Mailgun knows the key, but the domain is {domain['state']}: its DNS records are not verified.")
    return good("Mailgun knows the key, and the domain is active.")


async def _to_nobody(ask: Ask, check: Check) -> CheckResult:
    """A POST that can send nothing: which complaint comes back tells the rest."""
    domain = check.config["domain"]
    request = httpx.Request(
        "POST",
        f"{base_url(check.config)}/v3/{domain}/messages",
        headers=_headers(check),
        data={"from": f"messagepipe-test@{domain}", "subject": "MessagePipe test", "text": "A test."},
    )
    response = await ask(request)
    if response.status_code == 400 and _NO_RECIPIENT in str(json_object(response).get("message") or "").lower():
        return good("Mailgun knows the sending key and the domain; the key may not read the domain's state.")
    if response.status_code in (401, 403):
        return refused(response)
    return _unknown_domain(response) or unclear(response)


def _unknown_domain(response: httpx.Response) -> CheckResult | None:
    if response.status_code == 404 and json_object(response).get("message"):
        return bad(f"Mailgun does not know the domain in this region: {said(response)}")
    return None
