"""Whether keys can send SMS through SNS (providers.md §7.6): the SMS settings of the region, else whose they are."""

import httpx

from services.adapters import aws
from services.adapters.aws_check import by_identity, is_true, query
from services.adapters.check import CheckResult, good, notes
from services.adapters.http_check import Check, unclear
from services.adapters.identity import Ask

_VERSION = "2010-03-31"


async def probe(ask: Ask, check: Check) -> CheckResult:
    """GOOD when the keys may read the region's SMS settings. Says so when the account is in the SMS sandbox."""
    response = await ask(query(check, "sns", "GetSMSAttributes", _VERSION))
    if not response.is_success:
        return await by_identity(ask, check, response)
    if "GetSMSAttributesResponse" not in response.text:
        return unclear(response)
    sandbox = await ask(query(check, "sns", "GetSMSSandboxAccountStatus", _VERSION))
    return good(f"SNS knows the keys in this region.{_notes(response, sandbox)}")


def _notes(settings: httpx.Response, sandbox: httpx.Response) -> str:
    limit = _attribute(settings.text, "MonthlySpendLimit")
    return notes(
        {
            "The account is in the SMS sandbox: it reaches verified numbers only.": sandbox.is_success
            and is_true(aws.xml_text(sandbox.text, "IsInSandbox")),
            f"Its monthly spend limit is USD {limit}; beyond it messages are accepted and not sent.": bool(limit),
        }
    )


def _attribute(text: str, name: str) -> str:
    """The value of one `<entry><key>…</key><value>…</value></entry>`."""
    _, found, after = text.partition(f"<key>{name}</key>")
    return aws.xml_text(after, "value") if found else ""
