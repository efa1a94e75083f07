"""How the reader of each built-in kind is made. Imports wait until one is: ConfigService lists the kinds and never
reads a receipt.
"""

from services.adapters.egress import Egress
from services.adapters.receipts import ReceiptReader
from services.chassis.clock import Clock


def sendgrid(egress: Egress, clock: Clock) -> ReceiptReader:
    """The reader of SendGrid's Event Webhook."""
    del egress, clock  # nothing is fetched; a request says when it came
    from services.adapters.email.sendgrid_receipts import SendgridReceipts

    return SendgridReceipts()


def mailgun(egress: Egress, clock: Clock) -> ReceiptReader:
    """The reader of Mailgun's webhooks."""
    del egress, clock
    from services.adapters.email.mailgun_receipts import MailgunReceipts

    return MailgunReceipts()


def ses(egress: Egress, clock: Clock) -> ReceiptReader:
    """The reader of SES's events through SNS."""
    from services.adapters.email.ses_receipts import SesReceipts
    from services.adapters.sns_envelope import guarded_fetch

    return SesReceipts(guarded_fetch(egress), clock)


def twilio(egress: Egress, clock: Clock) -> ReceiptReader:
    """The reader of Twilio's status callbacks."""
    del egress, clock
    from services.adapters.sms.twilio_receipts import TwilioReceipts

    return TwilioReceipts()


def termii(egress: Egress, clock: Clock) -> ReceiptReader:
    """The reader of Termii's delivery reports."""
    del egress, clock
    from services.adapters.sms.termii_receipts import TermiiReceipts

    return TermiiReceipts()


def sns(egress: Egress, clock: Clock) -> ReceiptReader:
    """The reader of SNS's forwarded delivery records."""
    del egress, clock
    from services.adapters.sms.sns_receipts import SnsReceipts

    return SnsReceipts()
