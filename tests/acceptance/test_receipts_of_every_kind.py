"""Every kind that sends receipts says what became of a message, signed as its vendor signs; a call that differs in one
byte says nothing.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import httpx
import pytest
import pytest_asyncio

from services.adapters.base import Channel
from services.adapters.email.ses_receipts import SesReceipts
from services.adapters.receipts import ReceiptRequest
from services.adapters.registry import BUILT_IN
from services.chassis.clock import SystemClock
from tests.acceptance.house import House, Project, shared_house
from tests.acceptance.receipt_calls import REPORTERS, SES_REPORTER, Reporter, Sent, path_of
from tests.acceptance.seven_kinds import EMAIL, SMS
from tests.fakes.amazon import Amazon
from tests.fakes.vendor import VendorServer
from tests.integration.rig import eventually

shares_the_house = pytest.mark.asyncio(loop_scope="module")
WORDS = [(reporter, word) for reporter in REPORTERS for word in reporter.told]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(postgres_server, tmp_path_factory) -> AsyncIterator[House]:
    """Every process of messagepipe."""
    async with shared_house(postgres_server, tmp_path_factory) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ses_house(postgres_server, tmp_path_factory) -> AsyncIterator[House]:
    """The house, except that SES's receipts are proved by a certificate of the tests: DispatchService believes Amazon's
    own hosts alone, and no setting changes that, so it runs in this process.
    """
    readers = {(Channel.EMAIL, "ses"): SesReceipts(Amazon().fetch, SystemClock())}
    async with shared_house(postgres_server, tmp_path_factory, readers=readers) as opened:
        yield opened


def test_every_kind_with_receipts_is_in_the_table() -> None:
    """Whoever has a reader reports below, one word for each end."""
    reporters = [*REPORTERS, SES_REPORTER]
    assert {reporter.dialect.kind for reporter in reporters} == {kind.spec.kind for kind in BUILT_IN if kind.receipts}
    for reporter in reporters:
        assert [told.state for told in reporter.told.values()] == ["DELIVERED", "UNDELIVERED"]


@shares_the_house
@pytest.mark.parametrize(("reporter", "word"), WORDS, ids=[f"{each.dialect.kind}-{word}" for each, word in WORDS])
async def test_a_receipt_moves_the_message(house: House, reporter: Reporter, word: str) -> None:
    """Posted to the gateway without a token, it is 200, and the message is what the vendor says."""
    await check_it_moves(house, reporter, word)


@shares_the_house
@pytest.mark.parametrize("word", SES_REPORTER.told)
async def test_a_receipt_of_ses_moves_the_message(ses_house: House, word: str) -> None:
    """The same for SES, in an envelope that SNS has signed."""
    await check_it_moves(ses_house, SES_REPORTER, word)


@shares_the_house
@pytest.mark.parametrize("reporter", REPORTERS, ids=lambda reporter: reporter.dialect.kind)
async def test_one_changed_byte_is_401_and_changes_nothing(house: House, reporter: Reporter) -> None:
    """Wherever one signed byte is changed, nothing is kept and nothing told; unchanged, the same call counts."""
    await check_forgeries(house, reporter)


@shares_the_house
async def test_one_changed_byte_in_a_receipt_of_ses_is_401(ses_house: House) -> None:
    """The same for SES."""
    await check_forgeries(ses_house, SES_REPORTER)


async def check_it_moves(house: House, reporter: Reporter, word: str) -> None:
    """From SENT to where the word leads, with one event that tells it."""
    name = f"receipt-{reporter.dialect.kind}-{word.replace(' ', '-')}"
    async with a_sent_message(house, reporter, name) as (project, message_id, sent):
        assert (await project.message(message_id))["state"] == "SENT"

        assert await post(house, reporter.call(sent, word)) == 200

        told = reporter.told[word]
        await becomes(project, message_id, told.state)
        message, events = await project.message(message_id), await project.told(message_id)
        assert [name for name, _ in events[-2:]] == ["completed", "receipt"]
        receipt = events[-1][1]["receipt"]
        assert (receipt["status"], receipt["providerStatus"]) == (told.status, told.words)
        assert (receipt["state"], receipt["attempt"]) == (told.state, 1)
        assert receipt["providerMessageId"] == sent.reference
        assert [attempt["receipt"] for attempt in message["attempts"]] == [told.status]


async def check_forgeries(house: House, reporter: Reporter) -> None:
    """Each forged call is 401 and leaves no row; the call it was made from is then as good as ever."""
    async with a_sent_message(house, reporter, f"forged-{reporter.dialect.kind}") as (project, message_id, sent):
        before = await project.message(message_id), await project.told(message_id)
        good = reporter.call(sent, next(iter(reporter.told)))
        forgeries = list(reporter.forgeries(good))
        for where, forged in forgeries:
            assert await post(house, forged) == 401, where
            assert await kept(house, sent) == (0, 0), where
        assert (await project.message(message_id), await project.told(message_id)) == before

        assert forgeries
        assert await post(house, good) == 200
        await becomes(project, message_id, "DELIVERED")
        assert [name for name, _ in await project.told(message_id)].count("receipt") == 1
        assert await kept(house, sent) == (1, 1)


@asynccontextmanager
async def a_sent_message(house: House, reporter: Reporter, name: str) -> AsyncIterator[tuple[Project, str, Sent]]:
    """A project whose one provider, of this kind, has taken a message; the message's id, and how it was taken."""
    dialect = reporter.dialect
    async with AsyncExitStack() as stack:
        project = await stack.enter_async_context(house.project(name))
        vendor = await stack.enter_async_context(VendorServer(default=dialect.accepted))
        config = {**dialect.settings(vendor.url), **reporter.settings}
        provider = await project.provider(dialect.channel, dialect.kind, config)
        message_id = await project.send(EMAIL if dialect.channel is Channel.EMAIL else SMS)
        assert (await project.told(message_id))[-1][0] == "completed"
        (attempt,) = (await project.message(message_id))["attempts"]
        (request,) = vendor.received
        url = f"{house.url}/receipts/{dialect.kind}/{provider}"
        yield project, message_id, Sent(reference=attempt["providerMessageId"], request=request, receipts_url=url)


async def post(house: House, request: ReceiptRequest) -> int:
    """Call as the vendor does, who has no token; answers the HTTP status."""
    async with httpx.AsyncClient(base_url=house.url, timeout=30) as http:
        answer = await http.post(path_of(request.url), content=request.body, headers=dict(request.headers))
    return answer.status_code


async def becomes(project: Project, message_id: str, state: str) -> None:
    """Returns when the message is in this state."""

    async def there() -> bool:
        return bool((await project.message(message_id))["state"] == state)

    await eventually(there)


async def kept(house: House, sent: Sent) -> tuple[int, int]:
    """How many calls and how many receipts of this provider are in the database."""
    provider_id = sent.receipts_url.rpartition("/")[2]
    connection = await asyncpg.connect(house.database_url)
    try:
        calls, receipts = await connection.fetchrow(
            "SELECT (SELECT count(*) FROM dispatch.receipt_calls WHERE provider_id = $1),"
            " (SELECT count(*) FROM dispatch.receipts WHERE provider_id = $1)",
            provider_id,
        )
    finally:
        await connection.close()
    return calls, receipts
