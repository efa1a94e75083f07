"""A provider from another distribution: the one that docs/adding-a-provider.md spells out, built and installed by pip,
beside the running services.
"""

import asyncio
import hmac
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
import grpc
import httpx
import pytest
from google.protobuf.json_format import MessageToDict
from messagepipe.config.v1.config_service_pb2 import ListProviderSchemasRequest
from messagepipe.config.v1.config_service_pb2_grpc import ConfigServiceStub
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb
from messagepipe.dispatch.v1 import message_pb2
from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from messagepipe.type.v1 import channel_pb2

from services.adapters.base import Channel
from tests.acceptance.command import ROOT, Up, running_up
from tests.acceptance.house import Project
from tests.acceptance.plug_in import files_of_page, install, services_with, with_plug_ins
from tests.fakes.vendor import Received, Reply, VendorServer
from tests.integration.rig import Story, eventually, metadata, struct, token
from tests.postgres import cloned_database

if TYPE_CHECKING:  # only the type stubs know the asynchronous stub classes
    from messagepipe.config.v1.config_service_pb2_grpc import ConfigServiceAsyncStub
    from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceAsyncStub

pytestmark = pytest.mark.timeout(150)  # pip and a whole messagepipe, on a busy machine too

SMS = channel_pb2.CHANNEL_SMS
NUMBER = "+14155550100"
KEY, REPORT_SECRET = "pk_canary-key/+=", "rs_canary-report"
TWILIO_DOWN = Reply.json(503, {"code": 20503, "message": "Service unavailable", "status": 503})


@pytest.fixture(scope="module")
def pigeon(tmp_path_factory) -> Path:
    """Where pip has put the distribution of the page."""
    return install(files_of_page(), tmp_path_factory.mktemp("pigeon"))


@dataclass(frozen=True, slots=True)
class House:
    """A running messagepipe that finds the plug-in, and its database."""

    up: Up
    dsn: str

    def logs(self) -> str:
        """Everything that its processes have said so far."""
        return self.up.output + "".join(path.read_text() for path in (self.up.data / "logs").iterdir())


@pytest.fixture(scope="module")
def house(pigeon, postgres_server, tmp_path_factory) -> Iterator[House]:
    """One house for all tests, each with a project of its own; it logs all it can."""
    with asyncio.Runner() as runner:
        database = cloned_database(postgres_server)
        dsn = runner.run(database.__aenter__())
        environ = services_with(pigeon, database_url=dsn, MESSAGEPIPE_LOG_LEVEL="debug")
        with running_up(tmp_path_factory.mktemp("house") / "data", environ=environ) as up:
            yield House(up=up.until("messagepipe is ready"), dsn=dsn)
        runner.run(database.__aexit__(None, None, None))


@dataclass
class Owner:
    """Somebody with a project in the house, and the vendors that its providers are pointed at."""

    project: Project
    schemas: "ConfigServiceAsyncStub"
    messages: "DispatchServiceAsyncStub"
    twilio: VendorServer
    pigeon: VendorServer

    async def add_pigeon(self) -> str:
        """The id of a Pigeon account with both secrets."""
        account = {"apiKey": KEY, "sender": "Acme", "reportSecret": REPORT_SECRET, "baseUrl": self.pigeon.url}
        return await self.project.provider(Channel.SMS, "pigeon", account)

    async def post(self, path: str, body: Any) -> dict[str, Any]:
        """What a call over REST answers."""
        found: dict[str, Any] = (await self.project.http.post(path, json=body)).json()
        return found

    async def report(self, provider_id: str, body: bytes, *, secret: str = REPORT_SECRET) -> int:
        """Call as Pigeon does, signed with `secret`; answers the HTTP status."""
        now = str(int(time.time()))
        signature = hmac.new(secret.encode(), now.encode() + b"." + body, "sha256").hexdigest()
        headers = {"x-pigeon-time": now, "x-pigeon-signature": signature, "authorization": ""}
        path = f"/receipts/pigeon/{provider_id}"
        return (await self.project.http.post(path, content=body, headers=headers)).status_code


@pytest.fixture
async def owner(house) -> AsyncIterator[Owner]:
    """The owner of a fresh project."""
    name, addresses = f"shop-{uuid4().hex[:8]}", house.up.addresses
    headers = {"authorization": f"Bearer {token(name)}"}
    async with (
        httpx.AsyncClient(base_url=f"http://{addresses.http}", headers=headers, timeout=30) as http,
        grpc.aio.insecure_channel(addresses.config) as config,
        grpc.aio.insecure_channel(addresses.dispatch) as dispatch,
        VendorServer(default=TWILIO_DOWN) as twilio,
        VendorServer(default=as_pigeon) as vendor,
    ):
        project = Project(name=name, http=http)
        http.event_hooks["response"] = [project.hear]
        yield Owner(project, ConfigServiceStub(config), DispatchServiceStub(dispatch), twilio, vendor)


def as_pigeon(received: Received) -> Reply:
    """Pigeon as its documentation has it: one good key, an account, and messages."""
    if received.headers.get("authorization") != f"Bearer {KEY}":
        return Reply.json(401, {"error": {"code": "bad_key", "text": "This key is none of ours."}})
    if received.path == "/v1/account":
        return Reply.json(200, {"status": "active"})
    return Reply.json(202, {"id": "pgn_1"})


async def test_it_is_in_the_schemas(owner: Owner) -> None:
    """The kind is listed beside the built-in ones, over REST and gRPC, with its own and the common settings."""
    http = owner.project.http
    listed = (await http.get("/sms-config/provider-schemas")).json()
    over_rest = {each["provider"]: each for each in listed}["pigeon"]
    request = ListProviderSchemasRequest(channel=SMS)
    answer = await owner.schemas.ListProviderSchemas(request, metadata=metadata(owner.project.name))
    over_grpc = {each.kind: each for each in answer.schemas}["pigeon"]

    assert {"twilio", "termii", "sns", "sandbox"} < {each["provider"] for each in listed}
    assert over_rest["capabilities"]["receipts"] is True
    assert over_rest["configSchema"]["properties"]["apiKey"]["writeOnly"] is True
    assert {"apiKey", "sender", "timeoutSeconds"} <= over_rest["configSchema"]["properties"].keys()
    assert MessageToDict(over_grpc.config_schema) == over_rest["configSchema"]
    assert (await http.get("/sms-config/provider-schemas/pigeon")).json() == over_rest
    assert (await http.get("/email-config/provider-schemas/pigeon")).status_code == 404


async def test_a_typo_is_named(owner: Owner) -> None:
    """A misspelt key of the settings is named, with the right one, together with everything else that is wrong."""
    config = {"apiKye": KEY, "sender": "Acme", "baseUrl": "pigeon.example/v1"}
    body = {"provider": "pigeon", "name": "Pigeon", "config": config}

    refused = await owner.project.try_provider(Channel.SMS, body)

    said = {each["field"]: each["description"] for each in refused.json()["details"]["violations"]}
    assert refused.status_code == 400
    assert said.keys() == {"config.apiKye", "config.apiKey", "config.baseUrl"}
    assert said["config.apiKye"].endswith('did you mean "apiKey"?')
    assert KEY not in refused.text


async def test_it_is_tested_before_it_goes_live(owner: Owner) -> None:
    """TestProvider asks the plug-in: GOOD for the stored key, BAD for another one, and a rehearsal in test mode."""
    path = f"/sms-config/providers/{await owner.add_pigeon()}/test"

    good = await owner.post(path, {})
    bad = await owner.post(path, {"config": {"apiKey": "pk_other"}})
    rehearsed = await owner.post(path, {"sandboxSend": True})

    assert (good["verdict"], bad["verdict"]) == ("GOOD", "BAD")
    assert "This key is none of ours." in bad["message"]
    assert (rehearsed["verdict"], rehearsed["sent"]["outcome"]) == ("GOOD", "ACCEPTED")
    asked = [(each.method, each.path) for each in owner.pigeon.received]
    assert asked == [("GET", "/v1/account")] * 3 + [("POST", "/v1/messages")]
    assert owner.pigeon.received[-1].json()["mode"] == "test"


async def test_it_sends_where_the_one_before_fails(owner: Owner) -> None:
    """Behind a Twilio that is down, Pigeon takes the text; it got one request, with everything in it."""
    twilio = {"accountSid": "AC" + "0" * 32, "authToken": "twilio-token", "fromNumber": "+15005550006"}
    await owner.project.provider(Channel.SMS, "twilio", {**twilio, "baseUrl": owner.twilio.url})
    await owner.add_pigeon()
    options = struct(pigeon={"speed": "express"})
    spec = message_pb2.MessageSpec(channel=SMS, to=NUMBER, text="Grüße, Ada.", provider_options=options)
    spec.validity_period.FromSeconds(600)
    request = pb.DispatchMessageRequest(message=spec)

    call = owner.messages.DispatchMessage(request, metadata=metadata(owner.project.name))
    story = Story([event async for event in call])

    assert story.calls == "twilio:deferred pigeon:accepted"
    assert story.state == "SENT"
    message = await owner.project.message(story.message_id)
    assert (message["provider"], message["attempts"][-1]["providerMessageId"]) == ("pigeon", "pgn_1")
    (received,) = owner.pigeon.received
    assert (received.method, received.path) == ("POST", "/v1/messages")
    assert received.headers["authorization"] == f"Bearer {KEY}"
    told = {"to": NUMBER, "from": "Acme", "text": "Grüße, Ada.", "reference": story.message_id}
    assert received.json() == {**told, "expires_in": 600, "speed": "express"}


async def test_its_codes_decide(owner: Owner) -> None:
    """The plug-in's own table decides: a bad number is INVALID there, and ends the message."""
    await owner.add_pigeon()
    owner.pigeon.default = Reply.json(422, {"error": {"code": "bad_number", "text": "No loft there."}})

    answer = await owner.post("/sms/send", {"to": NUMBER, "text": "Hello"})

    message = await owner.project.message(answer["details"]["metadata"]["messageId"])
    (attempt,) = message["attempts"]
    assert (message["state"], attempt["outcome"], attempt["reason"]) == ("FAILED", "INVALID", "RECIPIENT_INVALID")
    assert (attempt["providerCode"], attempt["providerText"]) == ("bad_number", "No loft there.")


async def test_its_options_are_checked(owner: Owner) -> None:
    """A misspelt option is refused at the door with the right name, and nothing is sent."""
    await owner.add_pigeon()

    options = {"pigeon": {"sped": "express"}}
    answer = await owner.post("/sms/send", {"to": NUMBER, "text": "Hello", "providerOptions": options})

    (violation,) = answer["details"]["violations"]
    assert violation["field"] == "providerOptions.pigeon.sped"
    assert violation["description"].endswith('did you mean "speed"?')
    assert owner.pigeon.received == []


async def test_its_receipts_are_heard(owner: Owner) -> None:
    """A report that Pigeon signed moves the message to DELIVERED; one that somebody else signed is refused."""
    provider_id = await owner.add_pigeon()
    message_id = (await owner.post("/sms/send", {"to": NUMBER, "text": "Hello"}))["messageId"]
    report = b'{"event": "e1", "id": "pgn_1", "state": "delivered", "at": 1700000000}'

    forged = await owner.report(provider_id, report, secret="rs_another")
    before = (await owner.project.message(message_id))["state"]
    proved = await owner.report(provider_id, report)

    async def delivered() -> bool:
        return bool((await owner.project.message(message_id))["state"] == "DELIVERED")

    assert (forged, before, proved) == (401, "SENT", 200)
    await eventually(delivered)


async def test_its_secrets_are_seen_nowhere(owner: Owner, house: House) -> None:
    """Whatever the vendor quotes back, the plug-in's secrets are in no answer, no event, no log line and no table."""

    def echo(received: Received) -> Reply:
        return Reply(status=418, body=repr(received.headers).encode() + f" {KEY} {REPORT_SECRET}".encode())

    provider_id = await owner.add_pigeon()
    owner.pigeon.default = echo
    await owner.post(f"/sms-config/providers/{provider_id}/test", {})
    answer = await owner.post("/sms/send", {"to": NUMBER, "text": "Hello"})
    message_id = answer["details"]["metadata"]["messageId"]
    message = await owner.project.message(message_id)
    await owner.project.told(message_id)
    await owner.project.http.get(f"/sms-config/providers?projectId={owner.project.name}")
    await owner.report(provider_id, b"{}", secret="rs_another")
    connection = await asyncpg.connect(house.dsn)
    rows = [str(row) for table in await tables(connection) for row in await connection.fetch(f"SELECT * FROM {table}")]
    await connection.close()

    seen = " ".join([*owner.project.heard, *rows, house.logs()])
    assert "***" in message["attempts"][0]["providerText"]
    assert provider_id in house.logs()
    assert provider_id in " ".join(rows)
    assert [secret for secret in (KEY, REPORT_SECRET) if secret in seen] == []


async def tables(connection: Any) -> list[str]:
    """Every table of ours."""
    query = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('config', 'dispatch')"
    rows = await connection.fetch(query)
    found = [f"{row['schemaname']}.{row['tablename']}" for row in rows]
    assert found
    return found


def test_it_passes_the_contract(pigeon: Path) -> None:
    """The page's own test file runs the contract of every HTTP kind over the plug-in, and all of it holds."""
    page = pigeon.parent / "source" / "test_pigeon.py"
    command = [sys.executable, "-m", "pytest", "-c", "pyproject.toml", "-p", "no:cacheprovider", "-q", str(page)]

    done = subprocess.run(
        command, env=with_plug_ins(pigeon), cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 0, done.stdout
    ran = re.search(r"^(\d+) passed", done.stdout, re.MULTILINE)
    assert ran is not None
    assert int(ran[1]) > 30
