"""The primary's machine dies. The long form, and the control that must lose: tests/chaos/test_high_availability.py."""

import pytest

from tests.acceptance.outage import lose_the_primary
from tests.postgres_pair import running_pair


@pytest.mark.timeout(180)
async def test_nothing_is_lost_with_the_primary(tmp_path):
    """Killed under load with a standby that had stalled and commits that were cancelled: every acknowledged message
    goes out, and what went out twice has an attempt marked unknown; accepting goes on at the new primary.
    """
    async with running_pair() as pair:
        account = await lose_the_primary(pair, tmp_path, synchronous=True, seconds=1.5, rate=100)
    assert account.cut_off >= 3, "no commit was waiting: the trap was not set"
    assert account.after_promotion > 50, account
    assert set(account.refused) <= {"UNAVAILABLE"}
    assert not account.lost, account
    assert not account.forgotten, account
    assert not account.unexplained, account
