"""Who reads which kind's receipts."""

import subprocess
import sys

from services.adapters.base import Channel
from services.adapters.egress import Egress
from services.adapters.registry import build_receipt_readers
from tests.fakes.clock import FakeClock


def test_every_kind_with_receipts_has_its_reader() -> None:
    """The six kinds that can be heard from, each with the reader of its own name."""
    found = {key: type(reader).__name__ for key, reader in build_receipt_readers(Egress(), FakeClock()).items()}
    assert found == {
        (Channel.EMAIL, "sendgrid"): "SendgridReceipts",
        (Channel.EMAIL, "mailgun"): "MailgunReceipts",
        (Channel.EMAIL, "ses"): "SesReceipts",
        (Channel.SMS, "twilio"): "TwilioReceipts",
        (Channel.SMS, "termii"): "TermiiReceipts",
        (Channel.SMS, "sns"): "SnsReceipts",
    }


def test_readers_open_no_sockets_by_being_made() -> None:
    """What fetches loads its network library at its first fetch."""
    code = (
        "import sys; from services.adapters.registry import build_receipt_readers; "
        "from services.adapters.egress import Egress; from services.chassis.clock import SystemClock; "
        "build_receipt_readers(Egress(), SystemClock()); print('aiohttp' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
