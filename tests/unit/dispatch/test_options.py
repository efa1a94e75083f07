"""What a message may say to one kind of provider alone."""

from typing import Any

import pytest

from services.adapters.base import Channel
from services.adapters.registry import specs
from services.dispatch.content import Findings
from services.dispatch.options import check_options

KINDS = {channel: {spec.kind: spec for spec in specs() if spec.channel is channel} for channel in Channel}


def _problems(channel: Channel, options: dict[str, Any]) -> dict[str, str]:
    findings = Findings("message")
    check_options(options, KINDS[channel], findings)
    return {violation.field: violation.description for violation in findings.violations}


@pytest.mark.parametrize(
    ("channel", "options"),
    [
        (Channel.EMAIL, {}),
        (Channel.EMAIL, {"sendgrid": {"asm": {"group_id": 7, "groups_to_display": [7, 8]}}, "mailgun": {}}),
        (Channel.EMAIL, {"sendgrid": {"tracking_settings": {"click_tracking": {"enable": False}}}}),
        (Channel.EMAIL, {"mailgun": {"o:tracking": "no", "o:require-tls": "yes", "amp-html": "<html amp4email>"}}),
        (Channel.EMAIL, {"ses": {"ListManagementOptions": {"ContactListName": "news"}, "TenantName": "t1"}}),
        (Channel.EMAIL, {"smtp": {"envelopeFrom": "bounces@example.com"}, "sandbox": {}}),
        (Channel.SMS, {"twilio": {"MediaUrl": ["https://example.com/a.png"], "SmartEncoded": True}}),
        (Channel.SMS, {"termii": {"channel": "dnd"}, "sns": {"AWS.SNS.SMS.MaxPrice": 0.5}}),
    ],
)
def test_options_that_a_kind_has_are_good(channel: Channel, options: dict[str, Any]) -> None:
    """Every kind's own names are taken, for several kinds at once."""
    assert _problems(channel, options) == {}


@pytest.mark.parametrize(
    ("channel", "options", "path", "words"),
    [
        (Channel.EMAIL, {"sendgird": {}}, "sendgird", 'did you mean "sendgrid"?'),
        (Channel.EMAIL, {"twilio": {}}, "twilio", "is not a kind of provider on this channel"),
        (Channel.EMAIL, {"mailgun": {"o:traking": "no"}}, "mailgun.o:traking", 'did you mean "o:tracking"?'),
        (Channel.EMAIL, {"mailgun": {"to": "eve@example.com"}}, "mailgun.to", "is not a known setting"),
        (Channel.EMAIL, {"sendgrid": {"personalizations": []}}, "sendgrid.personalizations", "is not a known setting"),
        (Channel.EMAIL, {"sendgrid": {"asm": {}}}, "sendgrid.asm.group_id", "is required"),
        (Channel.EMAIL, {"ses": {"Content": {}}}, "ses.Content", "is not a known setting"),
        (Channel.EMAIL, {"smtp": {"envelopeFrom": "a@b\r\nRCPT TO:<c@d>"}}, "smtp.envelopeFrom", "control"),
        (Channel.EMAIL, {"ses": "all"}, "ses", "must be an object"),
        (Channel.EMAIL, {"sandbox": {"x": 1}}, "sandbox.x", "known are none"),
        (Channel.SMS, {"twilio": {"To": "+14155550100"}}, "twilio.To", "is not a known setting"),
        (Channel.SMS, {"twilio": {"MediaUrl": ["file:///etc/passwd"]}}, "twilio.MediaUrl[0]", "http"),
    ],
)
def test_an_option_that_is_wrong_is_named(channel: Channel, options: dict[str, Any], path: str, words: str) -> None:
    """A typo is met with what was meant, and nothing that the service itself sets can be replaced."""
    problems = _problems(channel, options)
    assert any(words in said for said in [problems.get(f"message.providerOptions.{path}", "")]), problems
