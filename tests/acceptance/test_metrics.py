"""What an operator's Prometheus reads from every process while messages fail over; nobody's words are in it."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.adapters.base import Channel
from tests.acceptance.canaries import MARK, canary, leaks
from tests.acceptance.house import House, open_house
from tests.acceptance.processes import free_port

PROJECT = f"shop-{MARK}"


class Scrape:
    """One reading of one process."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self._samples = [sample for family in self.families.values() for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples with at least these labels."""
        return sum(
            sample.value for sample in self._samples if sample.name == name and labels.items() <= sample.labels.items()
        )


@pytest.fixture
def ports() -> Mapping[str, int]:
    """Where each process is read."""
    return {name: free_port() for name in ("config", "dispatch", "gateway")}


@pytest.fixture
async def house(database_url: str, tmp_path: Path, ports: Mapping[str, int]) -> AsyncIterator[House]:
    """Every process, each with a port for metrics."""
    settings = {f"{name.upper()}_METRICS_PORT": str(port) for name, port in ports.items()}
    async with open_house(database_url, tmp_path, readers=None, **settings) as house:
        yield house


async def scrape(port: int) -> Scrape:
    """What is read there now."""
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"http://127.0.0.1:{port}/metrics")
    assert answer.status_code == 200
    return Scrape(answer.text)


async def test_a_failover_is_counted_where_it_happens(house: House, ports: Mapping[str, int]) -> None:
    """After one mail that failed over and one message that did not, every count is what it must be."""
    async with house.project(PROJECT) as shop:
        down = await shop.provider(Channel.EMAIL, "sandbox", {"script": ["denied"]}, name=canary())
        await shop.provider(Channel.EMAIL, "sandbox", {"script": ["accepted"]}, name=canary())
        await shop.provider(Channel.SMS, "sandbox", {})
        mail = {"projectId": PROJECT, "channel": "EMAIL", "to": f"{MARK}@example.com", "from": "shop@example.com"}
        sent = await shop.send({**mail, "subject": canary(), "text": canary(), "idempotencyKey": "once"})
        again = await shop.http.post(
            "/v1/messages", json={**mail, "subject": "x", "text": "y", "idempotencyKey": "once"}
        )
        text = await shop.send({"projectId": PROJECT, "channel": "SMS", "to": "+14155550100", "text": canary()})
        for message in (sent, text):
            assert (await shop.told(message))[-1][0] == "completed"
    assert again.status_code == 422
    read = {name: await scrape(port) for name, port in ports.items()}
    _check_dispatch(read["dispatch"], down)
    created = "messagepipe.config.v1.ConfigService/CreateProvider"
    count = "rpc_server_call_duration_seconds_count"
    assert read["config"].value(count, rpc_method=created, rpc_response_status_code="OK") == 3
    assert read["config"].value("messagepipe_database_connection_wait_seconds_count") > 3
    count = "http_server_request_duration_seconds_count"
    route = {"http_request_method": "POST", "http_route": "/v1/messages"}
    assert read["gateway"].value(count, **route, http_response_status_code="202") == 2
    assert read["gateway"].value(count, **route, http_response_status_code="422") == 1
    for name, each in read.items():
        assert not leaks(each.text), name
        assert "4155550100" not in each.text
        assert each.value("process_resident_memory_bytes") > 10 * 1024 * 1024
        assert each.value("messagepipe_requests_under_way", type="call") == 0


def _check_dispatch(read: Scrape, down: str) -> None:
    attempts = {"kind": "sandbox", "channel": "EMAIL"}
    assert read.value("messagepipe_messages_accepted_total", channel="EMAIL") == 1
    assert read.value("messagepipe_messages_accepted_total", channel="SMS") == 1
    assert read.value("messagepipe_attempts_total", **attempts, outcome="DENIED") == 1
    assert read.value("messagepipe_attempts_total", **attempts, outcome="ACCEPTED") == 1
    assert read.value("messagepipe_attempts_total", channel="SMS", outcome="ACCEPTED") == 1
    assert read.value("messagepipe_attempts_total") == 3
    assert read.value("messagepipe_attempt_duration_seconds_count", **attempts) == 2
    assert read.value("messagepipe_failovers_total", channel="EMAIL", kind="sandbox", outcome="DENIED") == 1
    assert read.value("messagepipe_failovers_total") == 1
    assert read.value("messagepipe_messages_completed_total", channel="EMAIL", state="SENT") == 1
    assert read.value("messagepipe_messages_completed_total", channel="SMS", state="SENT") == 1
    assert read.value("messagepipe_message_duration_seconds_count", state="SENT") == 2
    assert 0 < read.value("messagepipe_message_duration_seconds_sum") < 60
    assert read.value("messagepipe_breaker_state", provider_id=down, kind="sandbox", state="open") == 1
    assert read.value("messagepipe_breakers_open") == 1
    assert read.value("messagepipe_batch_rows_sum", batch="accept_keyed") == 2
    assert read.value("messagepipe_batch_rows_sum", batch="accept") == 1
    assert read.value("messagepipe_batch_rows_sum", batch="settle") == 5
    assert read.value("messagepipe_database_connection_wait_seconds_count") > 3
    assert read.value("messagepipe_queue_due_messages") == 0
    assert read.value("messagepipe_leases_rescued_total") == 0
    assert {"messagepipe_queue_messages", "messagepipe_queue_oldest_due_seconds"} <= set(read.families)
