"""Templates as a REST client has them (rest-api §4), through every process of messagepipe, by two projects."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.acceptance.house import House, shared_house

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = '<p class="x">\n  Hello {{user.name}} “Ü”\n</p>\n{{#each items}}\n<b>{{this}}</b>\n{{/each}}\n'
HTML = {"content-type": "text/html"}
CANARY = "canary-of-a-template"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One messagepipe for this file."""
    async with shared_house(postgres_server, tmp_path_factory) as running:
        yield running


async def test_the_life_of_an_email_template(house: House) -> None:
    """HTML in as it is; listed, read, its variables, previewed, rendered, changed, read as it was, deleted."""
    async with house.project("life") as project:
        http = project.http
        made = await http.post("/templates?projectId=life&name=Hello&subject=Hi", content=PAGE.encode(), headers=HTML)
        assert made.status_code == 201, made.text
        kept = made.json()
        assert (kept["name"], kept["version"], "subject" in kept) == ("Hello", "1", False)
        assert kept["variables"] == ["user.name", "items[]"]
        at = f"/templates/{kept['id']}"
        assert (await http.get("/templates?projectId=life")).json() == [kept]
        assert (await http.get("/templates/project/life")).json() == [kept]
        assert (await http.get(at)).json() == {**kept, "subject": "Hi", "html": PAGE}
        assert (await http.get(f"/templates/variables/{kept['id']}")).json() == {"variables": kept["variables"]}

        values = {"user": {"name": "<Ada>"}, "items": [1, "&"]}
        shown = (await http.post("/templates/preview", json={"templateId": kept["id"], "variables": values})).json()
        expected = '<p class="x">\n  Hello &lt;Ada&gt; “Ü”\n</p>\n<b>1</b>\n<b>&amp;</b>\n'
        assert shown == {"preview": expected, "subject": "Hi", "missing": []}
        answer = (await http.get(f"/templates/render/{kept['id']}?user.name=Ada")).json()
        assert answer == {"subject": "Hi", "html": '<p class="x">\n  Hello Ada “Ü”\n</p>\n'}

        changed = await http.put(f"{at}?name=New", content=b"<p>{{x}}</p>", headers=HTML)
        assert (changed.json()["version"], changed.json()["name"], changed.json()["variables"]) == ("2", "New", ["x"])
        assert (await http.put(at, json={"subject": ""})).json()["version"] == "3"
        assert "subject" not in (await http.get(at)).json()
        assert (await http.get(f"{at}?version=1")).json()["html"] == PAGE
        assert (await http.delete(at)).status_code == 204
        gone = await http.get(at)
        assert (gone.status_code, gone.json()["statusCode"], gone.json()["message"]) == (404, 404, "Template not found")


@pytest.mark.parametrize("path", ["message-templates", "sms-templates"])
async def test_the_life_of_a_text_template(house: House, path: str) -> None:
    """JSON in; nothing is escaped; the other kinds of template do not have it."""
    async with house.project(path) as project:
        http = project.http
        body = {"projectId": path, "name": "Code", "body": "Hi {{name}}: {{code}}"}
        made = await http.post(f"/{path}", json=body)
        assert made.status_code == 201, made.text
        template_id = made.json()["id"]
        variables = await http.get(f"/{path}/{template_id}/variables")
        assert variables.json() == {"variables": ["name", "code"]}
        asked = {"templateId": template_id, "variables": {"name": "A&B", "code": 42}}
        shown = await http.post(f"/{path}/preview", json=asked)
        assert shown.json() == {"renderedMessage": "Hi A&B: 42", "missing": []}
        assert (await http.put(f"/{path}/{template_id}", json={"body": "x"})).json()["version"] == "2"
        others = {"templates", "message-templates", "sms-templates"} - {path}
        for other in others:
            assert (await http.get(f"/{other}/{template_id}")).status_code == 404
            assert (await http.get(f"/{other}?projectId={path}")).json() == []


async def test_mistakes_are_told_by_line_and_column(house: House) -> None:
    """All at once, by the fields of the body that was sent."""
    async with house.project("mistakes") as project:
        body = {"name": "x", "subject": "{{#if}}x{{/if}}", "html": "<p>\n  {{name\n</p>{{#each}}"}
        refused = await project.http.post("/templates", json=body)
        assert refused.status_code == 400
        found = refused.json()["details"]["violations"]
        assert [(each["field"], each["description"].partition(":")[0]) for each in found] == [
            ("subject", "line 1, column 4"),
            ("html", "line 3, column 1"),
        ]


async def test_nothing_crosses_projects(house: House) -> None:
    """Another project's template answers on every route like one that does not exist."""
    async with house.project("mine") as mine, house.project("theirs") as theirs:
        made = (await mine.http.post("/templates?name=Mine", content=PAGE.encode(), headers=HTML)).json()
        for template_id in (made["id"], "00000000-0000-4000-8000-000000000000"):
            calls: list[tuple[str, str, Any]] = [
                ("GET", f"/templates/{template_id}", None),
                ("PUT", f"/templates/{template_id}", {"name": "x"}),
                ("DELETE", f"/templates/{template_id}", None),
                ("GET", f"/templates/variables/{template_id}", None),
                ("GET", f"/templates/render/{template_id}?a=b", None),
                ("POST", "/templates/preview", {"templateId": template_id}),
            ]
            for method, url, body in calls:
                response = await theirs.http.request(method, url, json=body)
                assert (response.status_code, response.json()["reason"]) == (404, "TEMPLATE_NOT_FOUND"), url
        assert (await theirs.http.get("/templates?projectId=mine")).json()["reason"] == "PROJECT_NOT_FOUND"
        assert (await mine.http.get("/templates?projectId=mine")).json() == [made]


async def test_no_content_is_in_a_log(house: House) -> None:
    """Neither a template nor a value, also where they are refused."""
    async with house.project("quiet") as project:
        body = {"name": CANARY, "subject": CANARY, "html": f"{CANARY} {{{{formatDate x 'YYYY'}}}}"}
        made = (await project.http.post("/templates", json=body)).json()
        for values in ({"x": CANARY}, {"x": "2024-01-01"}):
            asked = {"templateId": made["id"], "variables": values}
            await project.http.post("/templates/preview", json=asked)
            await project.http.get(f"/templates/render/{made['id']}?x={CANARY}")
        await project.http.post("/templates", json={"name": CANARY, "html": f"{{{{#if {CANARY}"})
        for log in house.folder.glob("*.log"):
            assert CANARY not in log.read_text(encoding="utf-8")
