"""What we send, beside what the maker's own library sends for the same message: equal in meaning, field by field."""

import pytest

from tests.fakes.vendor import VendorServer
from tests.strangers.conftest import BothSend
from tests.strangers.maker import Case, Maker
from tests.strangers.makers import mailgun, sendgrid, ses, sns, twilio
from tests.strangers.meaning import Exempt, Meaning, differences, needed

MAKERS: tuple[Maker, ...] = (sendgrid.MAKER, mailgun.MAKER, ses.RAW, ses.SIMPLE, twilio.MAKER, sns.MAKER)
EACH_CASE = [
    pytest.param(maker, case, id=f"{maker.name}: {name}") for maker in MAKERS for name, case in maker.cases.items()
]
EACH_MAKER = [pytest.param(maker, id=maker.name) for maker in MAKERS]


async def _both(maker: Maker, case: Case, vendor: VendorServer, both_send: BothSend) -> tuple[Meaning, Meaning]:
    call = maker.call(case, vendor.url)
    ours, theirs = await both_send(maker.kind, call, lambda: maker.send(case, vendor.url))
    return maker.meaning(ours), maker.meaning(theirs)


@pytest.mark.parametrize(("maker", "case"), EACH_CASE)
async def test_we_send_what_the_makers_library_sends(
    maker: Maker, case: Case, vendor: VendorServer, both_send: BothSend
) -> None:
    """Every field of our request means what the same field of the maker's request means; exemptions are named."""
    found = differences(*await _both(maker, case, vendor, both_send), maker.exempt)

    assert not found, "\n".join(found)


@pytest.mark.parametrize("maker", EACH_MAKER)
async def test_no_exemption_is_idle(maker: Maker, vendor: VendorServer, both_send: BothSend) -> None:
    """Every field that may differ does differ somewhere, or the exemption would hide a difference to come."""
    idle = set(maker.exempt)
    for case in maker.cases.values():
        idle -= needed(*await _both(maker, case, vendor, both_send), maker.exempt)
        if not idle:
            break

    assert not {each.field for each in idle}


@pytest.mark.parametrize("maker", EACH_MAKER)
def test_the_table_is_long_enough(maker: Maker) -> None:
    """Each maker's library is asked for at least twenty messages, no two of them alike."""
    assert len({repr(case) for case in maker.cases.values()}) == len(maker.cases) >= 20


def test_a_difference_is_seen() -> None:
    """A field with another value is a difference, and so is one that only one side has, unless just that is exempt."""
    ours, theirs = {"to": "a", "tag": "x"}, {"to": "b"}

    assert len(differences(ours, theirs, ())) == 2
    assert differences(ours, theirs, (Exempt("to", "both", ""), Exempt("tag", "ours", ""))) == []
    assert len(differences(ours, theirs, (Exempt("to", "ours", ""), Exempt("tag", "theirs", "")))) == 2
