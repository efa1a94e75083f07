"""Amazon SES, API v2 with raw MIME: settings, request, answer. Not its events (ses_receipts.py), templates or
identities.
"""

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import httpx

from services.adapters import aws
from services.adapters.aws import Rule
from services.adapters.base import Address, Call, Capabilities, Channel, EmailContent, ProviderSpec
from services.adapters.email.sender import SENDER_MISSING, SENDER_SETTINGS, sender_of
from services.adapters.http import HttpKind, json_object
from services.adapters.mime import build_mime, needing_smtputf8, wire_address
from services.adapters.outcome import Outcome, Reason, Result, Verdict, unfit
from services.chassis.clock import Clock

MAX_RECIPIENTS = 50
MAX_MESSAGE_BYTES = 40_000_000  # of the MIME form, attachments as base64
MAX_TAGS = 40
TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")
TOPIC_ARN = (
    rf"^arn:{aws.PARTITION}:sns:[a-z]{{2,4}}(-[a-z]+)+-[0-9]{{1,2}}:[0-9]{{12}}:[A-Za-z0-9_-]{{1,256}}(\.fifo)?$"
)

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "ConfigurationSetName": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$", "title": "Configuration set"},
        "FeedbackForwardingEmailAddress": {"type": "string", "format": "email", "title": "Where bounces go"},
        "FromEmailAddressIdentityArn": {"type": "string", "pattern": "^arn:[!-~]{1,500}$", "title": "Sender's ARN"},
        "ListManagementOptions": {
            "type": "object",
            "title": "Contact list",
            "required": ["ContactListName"],
            "additionalProperties": False,
            "properties": {
                "ContactListName": {"type": "string", "minLength": 1, "maxLength": 64},
                "TopicName": {"type": "string", "minLength": 1, "maxLength": 64},
            },
        },
        "TenantName": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$", "title": "Tenant"},
    },
}

SPEC = ProviderSpec(
    kind="ses",
    channel=Channel.EMAIL,
    title="Amazon SES",
    description="Email through the Amazon Simple Email Service, API version 2.",
    documentation_url="https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html",
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Amazon SES",
        "description": (
            "Credentials and options of one AWS account. Receipts come when a configuration set publishes its events "
            "to an SNS topic of snsTopicArns, and that topic is subscribed over HTTPS to /receipts/ses/{provider id}."
        ),
        "type": "object",
        "additionalProperties": False,
        **aws.RULES_OF_SETTINGS,
        "properties": {
            **aws.SETTINGS,
            **SENDER_SETTINGS,
            "configurationSet": {
                "type": "string",
                "pattern": "^[A-Za-z0-9_-]{1,64}$",
                "errorMessage": "must be up to 64 letters, digits, _ and -",
                "title": "Configuration set",
                "description": "The set to send with; its event destination is where receipts come from.",
                "examples": ["messagepipe"],
            },
            "snsTopicArns": {
                "type": "array",
                "maxItems": 10,
                "uniqueItems": True,
                "items": {
                    "type": "string",
                    "pattern": TOPIC_ARN,
                    "errorMessage": "must be the ARN of an SNS topic",
                },
                "title": "Topics",
                "description": (
                    "The SNS topics whose events are believed. A subscription of one of them is confirmed by itself; "
                    "receipts are refused without any."
                ),
                "examples": [["arn:aws:sns:eu-west-1:123456789012:ses-events"]],
            },
        },
    },
    options_schema=OPTIONS,
    limits={
        "to, cc, bcc": f"together at most {MAX_RECIPIENTS}",
        "tags": f"at most {MAX_TAGS} of 256 characters of A-Z a-z 0-9 _ -",
        "attachments": "the whole message at most 40 MB, attachments as base64",
        "from, to, cc, bcc, replyTo": "no non-ASCII characters before the @",
    },
    capabilities=Capabilities(
        receipts=True,
        attachments=True,
        inline_attachments=True,
        cc_bcc=True,
        custom_headers=True,
        tags=True,
        metadata=True,
    ),
)

_INVALID = Verdict(Outcome.INVALID, Reason.RECIPIENT_INVALID)
_BAD_SENDER = Verdict(Outcome.DENIED, Reason.SENDER_REFUSED, "sender")
_QUOTA = Verdict(Outcome.DENIED, Reason.QUOTA_EXCEEDED)


def _bad_request(text: str, verdict: Verdict) -> tuple[Rule, Rule]:
    """The same row for both codes: v2 says BadRequestException, emulators and v1 say InvalidParameterValue."""
    return Rule("BadRequestException", text, verdict), Rule("InvalidParameterValue", text, verdict)


# providers.md §3.4; the codes all AWS services share are in aws.py. First match wins. Which code carries the daily
# quota is not documented for v2, so its words decide; address complaints are JavaMail's, handed through.
RULES = (
    Rule("*", "daily message quota exceeded", _QUOTA),
    Rule("MessageRejected", "email address is not verified", _BAD_SENDER),
    Rule("MessageRejected", "authority to send from", _BAD_SENDER),  # the words of moto and LocalStack
    Rule("MessageRejected", "", Verdict(Outcome.INVALID, Reason.CONTENT_REFUSED)),
    Rule("MailFromDomainNotVerifiedException", "", _BAD_SENDER),
    Rule("AccountSuspendedException", "", Verdict(Outcome.DENIED, Reason.ACCOUNT_SUSPENDED)),
    Rule("SendingPausedException", "", Verdict(Outcome.DENIED, Reason.ACCOUNT_SUSPENDED)),
    Rule("NotFoundException", "", Verdict(Outcome.DENIED, Reason.MISCONFIGURED)),
    Rule("LimitExceededException", "", Verdict(Outcome.DEFERRED, Reason.QUOTA_EXCEEDED)),
    *_bad_request("invalid from address", _BAD_SENDER),
    *_bad_request("missing final '@domain'", _INVALID),
    *_bad_request("missing domain", _INVALID),
    *_bad_request("control or whitespace", _INVALID),
    *_bad_request("illegal address", _INVALID),
    *_bad_request("illegal character", _INVALID),
    *_bad_request("non-ascii", _INVALID),
    *_bad_request("invalid email address", _INVALID),
    *_bad_request("invalid domain name", _INVALID),
    *_bad_request("recipient", Verdict(Outcome.UNFIT, Reason.TOO_MANY_RECIPIENTS)),
    *_bad_request("length", Verdict(Outcome.UNFIT, Reason.TOO_LARGE)),
    *_bad_request("size", Verdict(Outcome.UNFIT, Reason.TOO_LARGE)),
    *_bad_request("attachment", Verdict(Outcome.UNFIT, Reason.FEATURE_UNSUPPORTED)),
    *_bad_request("file type", Verdict(Outcome.UNFIT, Reason.FEATURE_UNSUPPORTED)),
    *_bad_request("", Verdict(Outcome.DENIED, Reason.MISCONFIGURED)),
)


def kind(clock: Clock) -> HttpKind:
    """SES behind the HTTP template; `clock` dates the mail and its signature."""
    return HttpKind(spec=SPEC, build=lambda call: build(call, clock.now()), read=read)


def build(call: Call, now: datetime) -> httpx.Request | Result:
    """The signed POST for this call, or why it cannot be one."""
    content, sender = call.content, sender_of(call)
    if not isinstance(content, EmailContent):
        raise TypeError("ses sends email only")
    if sender is None:
        return SENDER_MISSING
    refusal = refusal_of(content, sender)
    if refusal is not None:
        return refusal
    # The tags go as EmailTags, where only the account sees them, and not into the mail.
    mime = build_mime(replace(content, tags=()), sender=sender, message_id=call.message_id, now=now)
    if len(mime) > MAX_MESSAGE_BYTES:
        return unfit(Reason.TOO_LARGE, "attachments", "SES takes at most 40 MB, encoded attachments included.")
    body: dict[str, Any] = {
        # no FromEmailAddress: it would replace the From header, which says the same and more
        "Content": {"Raw": {"Data": b64encode(mime).decode()}},
        # what is given here is the envelope; the headers name everybody but bcc
        "Destination": _destination(content),
        "EmailTags": tags_of(call, content),
    }
    return post("outbound-emails", body, call, now)


def post(name: str, body: dict[str, Any], call: Call, now: datetime) -> httpx.Request:
    """The signed POST of this body, with what settings and message say beside it."""
    if configuration_set := call.config.get("configurationSet"):
        body["ConfigurationSetName"] = configuration_set
    body |= call.options
    return aws.signed_post(
        f"{aws.endpoint(call.config, 'email')}/v2/email/{name}",
        service="ses",
        body=json.dumps(body).encode(),
        content_type="application/json",
        config=call.config,
        now=now,
    )


def _destination(content: EmailContent) -> dict[str, list[str]]:
    lists = {"ToAddresses": [content.to], "CcAddresses": content.cc, "BccAddresses": content.bcc}
    return {name: [wire_address(address) for address in addresses] for name, addresses in lists.items() if addresses}


def tags_of(call: Call, content: EmailContent) -> list[dict[str, str]]:
    """Ours to match receipts by, then the message's own."""
    named = {"messagepipe_id": call.message_id, "messagepipe_attempt": str(call.attempt)}
    named |= {f"tag_{number}": tag for number, tag in enumerate(content.tags, start=1)}
    return [{"Name": name, "Value": value} for name, value in named.items()]


def refusal_of(content: EmailContent, sender: Address) -> Result | None:
    """What SES would refuse, said before it is asked."""
    if 1 + len(content.cc) + len(content.bcc) > MAX_RECIPIENTS:
        return unfit(Reason.TOO_MANY_RECIPIENTS, "to, cc, bcc", f"SES takes at most {MAX_RECIPIENTS} recipients.")
    if foreign := needing_smtputf8(content, sender):
        return unfit(Reason.FEATURE_UNSUPPORTED, foreign, "SES takes no non-ASCII characters before the @.")
    for number, tag in enumerate(content.tags):
        if number >= MAX_TAGS or not TAG.fullmatch(tag):
            words = f"SES takes at most {MAX_TAGS} tags, each of 1-256 characters of A-Z a-z 0-9 _ -"
            return unfit(Reason.FEATURE_UNSUPPORTED, f"tags[{number}]", words)
    return None


def read(response: httpx.Response, call: Call) -> Result:
    """What SES's answer means; 200 is accepted, whatever else can be read of it."""
    if response.is_success:
        return Result(
            outcome=Outcome.ACCEPTED,
            reason=Reason.ACCEPTED,
            provider_code=str(response.status_code),
            provider_message_id=str(json_object(response).get("MessageId") or ""),
        )
    sender = sender_of(call)
    from_email = sender.email if sender else ""
    return by_identity(aws.refused(response, RULES, lambda _: f"sender:{from_email}"), call)


def by_identity(result: Result, call: Call) -> Result:
    """The result, read again where only the recipient's identity is said to be unverified."""
    sender = sender_of(call)
    from_email = sender.email if sender else ""
    if result.reason == Reason.SENDER_REFUSED and _only_recipient_named(result.provider_text, call, from_email):
        return replace(result, reason=Reason.TRIAL_ACCOUNT, scope="")  # only a sandbox account asks for that
    return result


def _only_recipient_named(text: str, call: Call, from_email: str) -> bool:
    """Whether the identities said to be unverified include the recipient's and not the sender's."""
    words = text.casefold()
    to_email = call.content.to.email if isinstance(call.content, EmailContent) else ""
    return bool(to_email) and to_email.casefold() in words and from_email.casefold() not in words
