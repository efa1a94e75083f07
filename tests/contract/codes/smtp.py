"""Replies of mail servers (providers.md §4.2, §4.3), each where it is said. No receipts ever come."""

from services.adapters.email import smtp
from services.adapters.email.smtp import Phase
from services.adapters.outcome import Outcome, Reason
from tests.contract.codes.case import OWN, A, B, C, Case, D, F, Row, Table, answers

_SENDER, _RECIPIENT = Reason.SENDER_REFUSED, Reason.RECIPIENT_INVALID
_LATER = Reason.TEMPORARY_REFUSAL
_BUSY = Reason.RECIPIENT_UNAVAILABLE
_SHEET_PHASES = ("CONNECT", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BODY", "DOT")


def _row(
    phase: str, code: int, words: str, outcome: Outcome, reason: Reason, *, row: Row = "CODES",
    section: str = "4.3", sheet: Outcome | None = None, why: str = ""
) -> Case:  # fmt: skip
    scope = "sender" if reason is _SENDER else ""
    return Case(section, code, phase, words, outcome, reason, scope, row, sheet, why)


def _by_phase(phase: str, outcome: Outcome, reason: Reason) -> Case:
    """A 5xx that says nothing more."""
    return _row(phase, 550 if phase in ("CONNECT", "EHLO", "STARTTLS", "AUTH") else 571, "no", outcome, reason,
                row=("REFUSED_AT", Phase(phase)))  # fmt: skip


CASES = (
    # 421, in any phase before the dot's 250
    *(_row(phase, 421, "4.7.0 too many connections", C, Reason.UNAVAILABLE) for phase in _SHEET_PHASES),
    _row("DOT", 421, "closing", C, Reason.UNAVAILABLE, section="4.2"),
    # 450, 451, 452
    _row("RCPT", 450, "4.2.2 mailbox full", C, _BUSY),
    _row("RCPT", 451, "4.7.1 greylisted", C, _BUSY),
    _row("RCPT", 452, "try again later", C, _BUSY),
    _row("DATA", 451, "local error in processing", C, _LATER, row=""),
    _row("DOT", 452, "4.3.1 insufficient system storage", C, _LATER, row=""),
    # 454, 432, 534, 535, 538, 530
    _row("AUTH", 454, "4.7.0 Temporary authentication failure", C, _LATER),
    _row("AUTH", 454, "Throttling failure: Maximum sending rate exceeded.", C, Reason.RATE_LIMITED),
    _row("AUTH", 454, "Throttling failure: Daily message quota exceeded.", C, Reason.RATE_LIMITED),
    _row("AUTH", 432, "4.7.12 A password transition is needed", B, Reason.CREDENTIALS),
    _row("AUTH", 534, "5.7.9 mechanism is too weak", B, Reason.CREDENTIALS),
    _row("AUTH", 535, "5.7.8 credentials invalid", B, Reason.CREDENTIALS),
    _row("AUTH", 538, "5.7.11 encryption required", B, Reason.CREDENTIALS),
    _row("AUTH", 550, "5.7.8 credentials invalid", B, Reason.CREDENTIALS, row=("REFUSED_AT", Phase.AUTH)),
    _row("MAIL", 530, "5.7.0 Authentication required", B, Reason.CREDENTIALS),
    _row("RCPT", 530, "5.7.0 Must issue a STARTTLS command first", B, Reason.CREDENTIALS),
    # syntax, sequence, parameter
    *(_row("MAIL", code, "syntax", B, Reason.MISCONFIGURED) for code in (500, 501, 502, 503, 504, 555)),
    _row("MAIL", 501, "5.1.7 Bad sender address syntax", B, _SENDER),
    *(_row("DATA", code, "sequence", B, Reason.MISCONFIGURED) for code in (500, 501, 502, 503, 504, 555)),
    *(_row("RCPT", code, "parameter", B, Reason.MISCONFIGURED) for code in (500, 502, 503, 504, 555)),
    _row("RCPT", 501, "5.1.3 Bad recipient address syntax", A, _RECIPIENT),
    _row("RCPT", 553, "sorry, that is no mailbox name", A, _RECIPIENT),
    # the sender
    *(_row("MAIL", code, "sender not allowed", B, _SENDER) for code in (550, 553, 554)),
    *(_row("MAIL", 571, f"{enhanced} no", B, _SENDER) for enhanced in ("5.1.7", "5.1.8", "5.7.1")),
    # the recipient
    *(_row("RCPT", code, f"{enhanced} no", A, _RECIPIENT)
      for code in (550, 551, 553) for enhanced in ("5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1")),
    _row("RCPT", 550, "5.7.1 not for you", B, Reason.RELAY_REFUSED),
    _row("RCPT", 554, "5.7.1 not for you", B, Reason.RELAY_REFUSED),
    _row("RCPT", 550, "relaying denied", B, Reason.RELAY_REFUSED),
    _row("RCPT", 554, "Relay access denied", B, Reason.RELAY_REFUSED),
    _row("RCPT", 552, "5.2.2 mailbox full", A, _RECIPIENT),
    _row("RCPT", 556, "5.1.10 null MX", A, _RECIPIENT),
    # size
    _row("MAIL", 552, "5.3.4 message size exceeds fixed limit", F, Reason.TOO_LARGE),
    _row("MAIL", 552, "5.2.3 too long", F, Reason.TOO_LARGE, sheet=A,
         why="no recipient was named yet, so no mailbox's limit can be meant"),
    _row("DATA", 552, "5.3.4 message too big for system", F, Reason.TOO_LARGE),
    _row("DOT", 552, "5.3.4 message too big for system", F, Reason.TOO_LARGE),
    _row("DOT", 552, "5.2.3 message length exceeds administrative limit", A, _RECIPIENT),
    # content
    _row("DATA", 554, "5.7.1 policy", A, Reason.CONTENT_REFUSED),
    _row("DOT", 554, "5.6.0 malformed", A, Reason.CONTENT_REFUSED),
    _row("DOT", 554, "5.7.1 looks like spam", A, Reason.CONTENT_REFUSED),
    _row("DOT", 554, "5.7.1 your IP is listed at Spamhaus", B, Reason.REPUTATION),
    _row("DOT", 550, "5.7.1 client is on our blocklist", B, Reason.REPUTATION),
    # no enhanced code: the phase
    _by_phase("CONNECT", B, Reason.PERMISSION),
    _by_phase("EHLO", B, Reason.PERMISSION),
    _by_phase("STARTTLS", B, Reason.TLS_REQUIRED),
    _by_phase("AUTH", B, Reason.CREDENTIALS),
    _by_phase("MAIL", B, _SENDER),
    _by_phase("RCPT", A, _RECIPIENT),
    _by_phase("DATA", A, Reason.CONTENT_REFUSED),
    _by_phase("BODY", A, Reason.CONTENT_REFUSED),
    _by_phase("DOT", A, Reason.CONTENT_REFUSED),
    *(_row(phase, 451, "4.0.0 later", C, _LATER, row="") for phase in ("EHLO", "STARTTLS", "AUTH", "MAIL", "DOT")),
    # SES
    _row("CONNECT", 421, "Too many concurrent SMTP connections", C, Reason.UNAVAILABLE),
    _row("MAIL", 454, "Throttling failure: Daily message quota exceeded.", C, _LATER, row=""),
    _row("MAIL", 530, "Authentication required", B, Reason.CREDENTIALS),
    _row("AUTH", 535, "Authentication Credentials Invalid", B, Reason.CREDENTIALS),
    _row("DOT", 552, "Message is too long.", F, Reason.TOO_LARGE),
    _row("RCPT", 553, "Invalid email address", A, _RECIPIENT),
    _row("DOT", 554, "Message rejected: Email address is not verified. The following identities failed the check in "
         "region US-EAST-1: shop@example.com", B, _SENDER),
    _row("DOT", 554, "Access denied: User `arn:aws:iam::123456789012:user/ses' is not authorized to perform "
         "`ses:SendRawEmail' on resource `arn:aws:ses:eu-west-1:123456789012:identity/example.com'",
         B, Reason.PERMISSION),
    # SendGrid, Mailgun
    _row("AUTH", 451, "Authentication failed: Maximum credits exceeded", B, Reason.OUT_OF_CREDIT),
    _row("DOT", 550, "The from address does not match a verified Sender Identity", B, _SENDER),
    _row("DATA", 421, "Domain x is not allowed to send: Please activate your Mailgun account", B, Reason.PERMISSION),
    _row("DOT", 554, "Sandbox subdomains are for test purposes only. Please add your own domain.",
         B, Reason.TRIAL_ACCOUNT, section=OWN, why="Mailgun's, seen with 554 in zonque/AlRide#7"),
    # §4.2, situations
    _row("CONNECT", 450, "busy", C, _LATER, row="", section="4.2"),
    _row("CONNECT", 554, "no SMTP service here", B, Reason.PERMISSION, section="4.2",
         row=("REFUSED_AT", Phase.CONNECT)),
    _row("DOT", -1, "what was that", D, Reason.UNREADABLE_ANSWER, row="", section="4.2"),
    _row("MAIL", -1, "what was that", C, Reason.UNREADABLE_ANSWER, row="", section="4.2"),
    # ours
    _row("RCPT", 554, "5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
         B, Reason.REPUTATION, section=OWN, why="Postfix asks block lists at RCPT, and says so (postconf(5))"),
    _row("RCPT", 550, "5.1.8 Bad sender's system address", B, _SENDER, section=OWN,
         why="RFC 3463 §3.2: the sender's address; servers that wait with their judgement give it here"),
    _row("RCPT", 552, "5.3.4 message too big for system", F, Reason.TOO_LARGE, section=OWN,
         why="RFC 1870 §6.2 lets a server that was told SIZE= refuse it at a later command too"),
    _row("BODY", 552, "5.3.4 too big", F, Reason.TOO_LARGE, section=OWN,
         why="a rude server answers before the final dot: as if it had waited"),
    _row("EHLO", 502, "unknown command", B, Reason.MISCONFIGURED, section=OWN,
         why="neither EHLO nor HELO: no mail server"),
)  # fmt: skip

WALK = answers(
    "smtp",
    CASES,
    (Table(smtp, "CODES"), Table(smtp, "REFUSED_AT")),
    lambda case: smtp.verdict_of(Phase(case.code), case.status, case.words),
)
