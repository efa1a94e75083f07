"""Every example of the documented REST API, replayed against the whole house in the order in which a client would meet
them: what it says is what comes back, member by member.
"""

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.acceptance.house import House, shared_house
from tests.integration.rig import token

shares_the_house = pytest.mark.asyncio(loop_scope="module")

ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
KEY = re.compile(r"mzl_[A-Za-z0-9_-]{20,}")
ANY = re.compile(r".*", re.DOTALL)
SANDBOX = {"provider": "sandbox", "name": "Sandbox", "enabled": True, "priority": 1, "config": {}}
SENDERS = {
    "email": {"senderEmail": "noreply@yourcompany.com", "senderName": "Your Company Name", "enabled": True},
    "sms": {"enabled": True, "senderId": "YourCompany"},
}
TO = {"email": "user@example.com", "sms": "+14155552671", "message": "+14155552671"}
DEFERRED_NUMBER = "+15005550005"
NOBODY = "00000000-0000-4000-8000-000000000000"


@dataclass
class Client:
    """One project's client: its requests with a bearer token, unless it is told to use its API key."""

    http: httpx.AsyncClient
    known: dict[str, str] = field(default_factory=dict)

    async def ask(self, asked: str, body: Any = None, *, key: str = "", **more: Any) -> httpx.Response:
        """`METHOD path` with what is known by name in braces filled in."""
        method, path = asked.split(" ", 1)
        headers = {"x-api-key": key} if key else {"authorization": f"Bearer {token('shop')}"}
        given = {"json": body} if not isinstance(body, str) else {"content": body}
        headers |= {"content-type": "text/html"} if isinstance(body, str) else {}
        return await self.http.request(
            method, path.format_map(self.known), headers=headers | more.pop("headers", {}), **given, **more
        )

    async def check(self, asked: str, body: Any, status: int, answer: Any, **more: Any) -> Any:
        """The answer, which has this status and at least these members."""
        response = await self.ask(asked, body, **more)
        assert response.status_code == status, f"{asked}: {response.status_code} {response.text}"
        found = response.json() if response.content else None
        differs = different(answer, found)
        assert not differs, f"{asked}: {differs} in {response.text[:2000]}"
        return found


def different(wanted: Any, found: Any, path: str = "$") -> str:
    """Where what was found is not what was wanted; a mapping may have more members than were asked for."""
    if isinstance(wanted, re.Pattern):
        return "" if isinstance(found, str) and wanted.fullmatch(found) else f"{path} is {found!r}"
    if isinstance(wanted, Mapping):
        if not isinstance(found, Mapping):
            return f"{path} is no object"
        return next(filter(None, (different(wanted[k], found.get(k, "<absent>"), f"{path}.{k}") for k in wanted)), "")
    if isinstance(wanted, list):
        if not isinstance(found, list) or len(found) != len(wanted):
            return f"{path} is not a list of {len(wanted)}"
        pairs = enumerate(zip(wanted, found, strict=True))
        return next(filter(None, (different(w, f, f"{path}[{n}]") for n, (w, f) in pairs)), "")
    return "" if wanted == found and type(wanted) is type(found) else f"{path} is {found!r}, not {wanted!r}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """Every process of messagepipe."""
    async with shared_house(postgres_server, tmp_path_factory) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(house: House) -> AsyncIterator[Client]:
    """The client of project `shop`, which can send: a sandbox provider and a sender on each channel."""
    async with httpx.AsyncClient(base_url=house.url, timeout=30) as http:
        made = Client(http)
        for channel, sender in SENDERS.items():
            await made.check(f"POST /{channel}-config/providers?projectId=shop", SANDBOX, 201, {"id": ID})
            await made.check(f"POST /{channel}-config?projectId=shop", sender, 201, sender)
        yield made


PROVIDERS = {
    "sendgrid": {"apiKey": "SG.x"},
    "mailgun": {"apiKey": "key-x", "domain": "mg.example.com"},
    "ses": {"accessKeyId": "AKIAIOSFODNN7EXAMPLE", "secretAccessKey": "s" * 40, "region": "us-east-1"},
    "smtp": {
        "host": "smtp.example.com",
        "port": 587,
        "secure": False,
        "auth": {"user": "u", "pass": "p"},
        "tls": {"rejectUnauthorized": True},
    },
    "twilio": {"accountSid": "AC" + "0" * 32, "authToken": "t", "fromNumber": "+14155550100"},
    "termii": {"apiKey": "k", "senderId": "Acme"},
    "sns": {"accessKeyId": "AKIAIOSFODNN7EXAMPLE", "secretAccessKey": "s" * 40, "region": "us-east-1"},
}
EMAIL_KINDS = ("sendgrid", "mailgun", "ses", "smtp")


@shares_the_house
@pytest.mark.parametrize("kind", PROVIDERS)
async def test_providers(client: Client, kind: str) -> None:
    """§1: schema, create, list, change a subset, remove; no secret comes back."""
    base = f"/{'email' if kind in EMAIL_KINDS else 'sms'}-config"
    schemas = await client.check(f"GET {base}/provider-schemas", None, 200, [{}] * 5 if "email" in base else [{}] * 4)
    assert kind in {each["provider"] for each in schemas}
    await client.check(f"GET {base}/provider-schemas/{kind}", None, 200, {"provider": kind})
    body = {"provider": kind, "name": f"Primary {kind}", "enabled": True, "priority": 7, "config": PROVIDERS[kind]}
    answer = {"id": ID, "provider": kind, "name": f"Primary {kind}", "enabled": True, "priority": 7, "createdAt": TIME}
    made = await client.check(f"POST {base}/providers?projectId=shop", body, 201, answer)
    listed = (await client.ask(f"GET {base}/providers?projectId=shop")).json()
    assert made["id"] in {each["id"] for each in listed}
    change = {"enabled": False, "priority": 9}
    changed = await client.check(f"PUT {base}/providers/{made['id']}", change, 200, answer | change)
    assert not [secret for secret in ("SG.x", "key-x", "s" * 40) if secret in f"{made}{listed}{changed}"]
    await client.check(f"DELETE {base}/providers/{made['id']}", None, 204, None)
    await client.check(f"GET {base}/providers/{made['id']}", None, 404, {"statusCode": 404})


@shares_the_house
@pytest.mark.parametrize("channel", SENDERS)
async def test_senders(client: Client, channel: str) -> None:
    """§1: the project's sender."""
    base, sender = f"/{channel}-config?projectId=shop", SENDERS[channel]
    await client.check(f"GET {base}", None, 200, sender)
    await client.check(f"PUT {base}", sender, 200, sender)


@shares_the_house
@pytest.mark.parametrize(
    ("path", "noun", "bulk"), [("email", "Email", "email"), ("sms", "SMS", "sms"), ("message", "SMS", "sms")]
)
async def test_sending(client: Client, path: str, noun: str, bulk: str) -> None:
    """§2: with content, with a template, in bulk, and at once."""
    subject = {"subject": "Hello {{name}}"} if path == "email" else {}
    where = {"email": "/templates", "sms": "/sms-templates", "message": "/message-templates"}[path]
    form = {"projectId": "shop", "name": "Welcome"} | (
        {"html": "<p>Hi {{name}}</p>"} if path == "email" else {"body": "Hi {{name}}"}
    )
    template = (await client.check(f"POST {where}", form, 201, {"id": ID}))["id"]
    sent = {"message": f"{noun} sent successfully", "messageId": ID}
    body = {"templateId": template, "to": TO[path], "variables": {"name": "Ada"}, "projectId": "shop", **subject}
    await client.check(f"POST /{path}/send", body, 200, sent)
    await client.check(
        f"POST /{path}/send", body | {"preferredProvider": "sandbox"}, 200, sent | {"provider": "sandbox"}
    )
    plain = {"to": TO[path], "text": "Hello.", "projectId": "shop"} | ({"subject": "Hello"} if path == "email" else {})
    await client.check(f"POST /{path}/send", plain, 200, sent)
    await client.check(f"POST /{path}/send", plain, 202, {"messageId": ID}, headers={"prefer": "respond-async"})
    others = [TO[path], "user2@example.com" if path == "email" else "+14155552672"]
    many = {k: v for k, v in body.items() if k != "to"} | {"recipients": others}
    results = [
        {"recipient": each, "success": True, "messageId": ID, "provider": "sandbox", "deliveryLogId": ID}
        for each in others
    ]
    answer = {"message": f"Bulk {bulk} processed: 2 sent, 0 failed", "success": True, "results": results}
    await client.check(f"POST /{path}/send-bulk", many, 200, answer)


@shares_the_house
async def test_refusals_of_sending(client: Client) -> None:
    """§2: the documented errors to the letter."""
    email = {"to": TO["email"], "subject": "Hello", "text": "Hello.", "projectId": "shop"}
    unknown = {"templateId": NOBODY, "to": TO["email"], "projectId": "shop"}
    await client.check("POST /email/send", unknown, 404, {"statusCode": 404, "error": "Template not found"})
    number = {"to": "12", "text": "Hi", "projectId": "shop"}
    await client.check("POST /sms/send", number, 400, {"statusCode": 400, "error": "Invalid phone number format"})
    failed = {
        "message": re.compile("All providers failed: .+"),
        "error": "Internal Server Error",
        "statusCode": 500,
    }
    await client.check("POST /email/send", email | {"to": "deferred@sandbox.test"}, 500, failed)


@shares_the_house
@pytest.mark.parametrize(("channel", "said", "said_of_many"), [
    ("email", "Email added to retry queue successfully", "Emails processed for retry"),
    ("sms", "SMS added to retry queue successfully", "SMS processed for retry"),
])  # fmt: skip
async def test_retrying(client: Client, channel: str, said: str, said_of_many: str) -> None:
    """§2: what failed is sent anew; what was sent is refused."""
    content = {"text": "Hello.", "projectId": "shop"} | ({"subject": "Hello"} if channel == "email" else {})
    failing = "deferred@sandbox.test" if channel == "email" else DEFERRED_NUMBER
    refused = await client.check(f"POST /{channel}/send", content | {"to": failing}, 500, {"statusCode": 500})
    dead = refused["details"]["metadata"]["messageId"]
    await client.check(f"POST /{channel}/retry", {"deliveryLogId": dead}, 200, {"message": said})
    await client.check(f"POST /{channel}/retry-multiple", {"deliveryLogIds": [dead]}, 200, {"message": said_of_many})
    sent = await client.check(f"POST /{channel}/send", content | {"to": TO[channel]}, 200, {"messageId": ID})
    await client.check(f"POST /{channel}/retry", {"deliveryLogId": sent["messageId"]}, 400, {"reason": "WRONG_STATE"})
    await client.check(f"POST /{channel}/retry", {"deliveryLogId": NOBODY}, 404, {"statusCode": 404})


@shares_the_house
async def test_email_templates(client: Client) -> None:
    """§4: saved as HTML, listed, read, rendered, changed, removed."""
    html = "<p>Hello {{uppercase name}}{{#if shop.town}} of {{shop.town}}{{/if}}</p>"
    made = await client.check(
        "POST /templates?projectId=shop&name=Hello&subject=Hi%20%7B%7Bname%7D%7D",
        html,
        201,
        {"id": ID, "name": "Hello"},
    )
    client.known["id"] = made["id"]
    for listing in ("GET /templates?projectId=shop", "GET /templates/project/shop"):
        assert made["id"] in {each["id"] for each in (await client.ask(listing)).json()}
    row = {"id": made["id"], "name": "Hello", "subject": "Hi {{name}}", "html": html, "createdAt": TIME}
    await client.check("GET /templates/{id}", None, 200, row)
    found = (await client.ask("GET /templates/variables/{id}")).json()
    assert {"name", "shop.town"} <= set(found["variables"])
    rendered = "<p>Hello &lt;ADA&gt; of Rome</p>"
    values = {"name": "<Ada>", "shop": {"town": "Rome"}}
    asked = {"templateId": made["id"], "variables": values, "projectId": "shop"}
    await client.check("POST /templates/preview", asked, 200, {"preview": rendered})
    shown = await client.ask("GET /templates/render/{id}?name=%3CAda%3E&shop.town=Rome")
    assert (shown.status_code, rendered in shown.text) == (200, True)
    await client.check("PUT /templates/{id}", {"name": "Bye", "subject": "Bye"}, 200, {"name": "Bye", "version": "2"})
    wrong = await client.check("PUT /templates/{id}", {"html": "{{#if}}"}, 400, {"statusCode": 400})
    assert "line 1" in wrong["message"]
    gone = await client.ask("DELETE /templates/{id}")
    assert gone.status_code in (200, 204)
    await client.check("GET /templates/{id}", None, 404, {"statusCode": 404, "error": "Template not found"})


@shares_the_house
@pytest.mark.parametrize("kind", ["message-templates", "sms-templates"])
async def test_text_templates(client: Client, kind: str) -> None:
    """§4: the same for messages and SMS, as JSON; nothing is escaped."""
    body = 'Hi {{capitalize name}}, {{default town "you"}}: {{#each items}}{{this}};{{/each}}'
    made = await client.check(f"POST /{kind}", {"projectId": "shop", "name": "T", "body": body}, 201, {"id": ID})
    client.known["id"] = made["id"]
    await client.check(f"GET /{kind}/{{id}}", None, 200, {"name": "T", "body": body})
    found = await client.check(f"GET /{kind}/{{id}}/variables", None, 200, {})
    assert {"name", "town", "items"} <= {each.removesuffix("[]") for each in found["variables"]}
    asked = {"templateId": made["id"], "variables": {"name": "o'neil", "items": ["a", "<b>"]}}
    await client.check(f"POST /{kind}/preview", asked, 200, {"renderedMessage": "Hi O'neil, you: a;<b>;"})
    await client.check(f"PUT /{kind}/{{id}}", {"body": "New"}, 200, {"version": "2"})
    assert (await client.ask(f"DELETE /{kind}/{{id}}")).status_code in (200, 204)


@shares_the_house
async def test_projects_and_keys(client: Client) -> None:
    """§4: a project, its key shown once, what the key may do, and that it stops."""
    owner: dict[str, Any] = {"headers": {"authorization": f"Bearer {token('*')}"}}
    made = await client.check("POST /projects", {"name": "My shop"}, 201, {"id": ANY, "name": "My shop"}, **owner)
    client.known |= {"project": made["id"]}
    listed = (await client.ask("GET /projects", **owner)).json()
    assert made["id"] in {each["id"] for each in (listed if isinstance(listed, list) else listed["projects"])}
    answer = {"message": ANY, "key": KEY}
    key = await client.check("POST /projects/{project}/api-keys", {"name": "Server"}, 201, answer, **owner)
    client.known |= {"key": key["id"]}
    keys = (await client.ask("GET /projects/{project}/api-keys", **owner)).text
    assert key["id"] in keys
    assert key["key"] not in keys
    # Its own project is what it stands for: there is no provider in it.
    content = {"to": TO["email"], "subject": "Hello", "text": "Hello."}
    await client.check("POST /email/send", content, 400, {"reason": "NO_PROVIDER"}, key=key["key"])
    await client.check("GET /email-config/providers", None, 403, {"statusCode": 403}, key=key["key"])
    preview = {"html": "Hi {{name}}", "variables": {"name": "Ada"}}
    await client.check("POST /templates/preview", preview, 200, {"preview": "Hi Ada"}, key=key["key"])
    change = {"name": "Server 1", "isActive": False}
    await client.check("PUT /projects/{project}/api-keys/{key}", change, 200, change, **owner)
    await client.check("POST /email/send", content, 401, {"statusCode": 401}, key=key["key"])
    assert (await client.ask("DELETE /projects/{project}/api-keys/{key}", **owner)).status_code in (200, 204)
    await client.check("DELETE /projects/{project}", None, 400, {"reason": "CONFIRMATION_NEEDED"}, **owner)
    gone = await client.ask("DELETE /projects/{project}?confirm=My%20shop", **owner)
    assert gone.status_code in (200, 204)
    await client.check("GET /projects/{project}", None, 404, {"statusCode": 404}, **owner)


@shares_the_house
async def test_the_delivery_log(client: Client) -> None:
    """§3: a page of messages, filtered, with where it stands among all; one of them whole; and the sums."""
    content = {"subject": "Hello", "text": "Hello.", "projectId": "shop", "to": "log@example.com"}
    sent = await client.check("POST /email/send", content, 200, {"messageId": ID})
    row = {
        "id": sent["messageId"],
        "messageType": "email",
        "recipient": "log@example.com",
        "status": "sent",
        "provider": "sandbox",
        "templateId": None,
        "projectId": "shop",
        "createdAt": TIME,
    }
    query = "projectId=shop&messageType=email&status=sent&page=1&limit=1"
    meta = {"page": 1, "limit": 1, "hasPreviousPage": False}
    found = await client.check(f"GET /delivery-log?{query}", None, 200, {"data": [row], "meta": meta})
    assert set(found["data"][0]) == set(row)
    assert found["meta"]["totalPages"] == found["meta"]["total"] >= 1
    assert found["meta"]["hasNextPage"] is (found["meta"]["total"] > 1)
    one = await client.check(f"GET /delivery-log/{sent['messageId']}", None, 200, row)
    assert [each["provider"] for each in one["attempts"]] == ["sandbox"]
    for wrong in ("limit=101", "page=0", "status=lost", "messageType=fax"):
        await client.check(f"GET /delivery-log?projectId=shop&{wrong}", None, 400, {"statusCode": 400})
    for none in ("app", "push"):
        await client.check(f"GET /delivery-log?projectId=shop&messageType={none}", None, 200, {"data": []})
    await client.check("GET /analytics?projectId=shop", None, 200, {})
