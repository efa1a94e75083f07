"""The SMS sandbox: Twilio's magic numbers stand for an outcome. Not a carrier: nothing leaves the process."""

from collections.abc import Mapping

from services.adapters.base import Capabilities, Channel, ProviderSpec
from services.adapters.check import Rehearsal
from services.adapters.outcome import Outcome, Reason, Result
from services.adapters.sandbox import SCHEMA

REHEARSAL = Rehearsal(recipient="+15005550006")

SPEC = ProviderSpec(
    kind="sandbox",
    channel=Channel.SMS,
    title="Sandbox (SMS)",
    description="Plays scripted outcomes and keeps what it took. Recipients +15005550001 to …09 stand for one.",
    documentation_url="",
    capabilities=Capabilities(metadata=True, validity=True),
    config_schema=SCHEMA,
)

# 1, 2, 3, 4 and 9 as with Twilio's test credentials (providers.md §5.6); the others are ours, for outcomes Twilio has
# no number for.
NUMBERS: Mapping[str, Result | str] = {
    "+15005550001": Result(
        outcome=Outcome.INVALID,
        reason=Reason.RECIPIENT_INVALID,
        provider_code="21211",
        provider_text="sandbox: invalid number",
    ),
    "+15005550002": Result(
        outcome=Outcome.DENIED,
        reason=Reason.REGION_REFUSED,
        provider_code="21612",
        provider_text="sandbox: no route",
        scope="country:US",
    ),
    "+15005550003": Result(
        outcome=Outcome.DENIED,
        reason=Reason.REGION_REFUSED,
        provider_code="21408",
        provider_text="sandbox: region off",
        scope="country:US",
    ),
    "+15005550004": Result(
        outcome=Outcome.INVALID,
        reason=Reason.RECIPIENT_OPTED_OUT,
        provider_code="21610",
        provider_text="sandbox: opted out",
    ),
    "+15005550005": "deferred",
    "+15005550006": "accepted",
    "+15005550007": "unknown",
    "+15005550008": "unfit",
    "+15005550009": Result(
        outcome=Outcome.INVALID,
        reason=Reason.RECIPIENT_INVALID,
        provider_code="21614",
        provider_text="sandbox: not a mobile",
    ),
}


def by_recipient(recipient: str) -> Result | str | None:
    """What this number stands for, or None for an ordinary one."""
    return NUMBERS.get(recipient)
