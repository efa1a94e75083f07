"""The primary's machine dies under load: what is lost with synchronous replication, and what without."""

import os

import pytest

from tests.acceptance.outage import lose_the_primary
from tests.postgres_pair import running_pair

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "3"))
SECONDS, RATE = 6.0, 150


@pytest.mark.parametrize("number", range(ROUNDS))
async def test_synchronous_replication_loses_nothing(tmp_path, number, capsys):
    """Whatever was acknowledged goes out and has an end; what went out twice has an attempt marked unknown."""
    async with running_pair() as pair:
        account = await lose_the_primary(pair, tmp_path, synchronous=True, seconds=SECONDS, rate=RATE)
    with capsys.disabled():
        print(f"\nsynchronous: {account}")  # noqa: T201 - minutes of work, and this is what they found
    assert account.cut_off >= 3, "no commit was waiting: the trap was not set"
    assert account.after_promotion > 100, account
    assert set(account.refused) <= {"UNAVAILABLE"}
    assert not account.lost | account.forgotten | account.unexplained, account


async def test_asynchronous_replication_does_lose(tmp_path, capsys):
    """The control: the same story without synchronous replication loses messages, and the count sees it."""
    async with running_pair() as pair:
        account = await lose_the_primary(pair, tmp_path, synchronous=False, seconds=SECONDS, rate=RATE)
    with capsys.disabled():
        print(f"\nasynchronous: {account}")  # noqa: T201 - as above
    assert account.lost, account
    assert account.forgotten, account
