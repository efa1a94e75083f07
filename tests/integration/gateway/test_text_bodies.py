"""Bodies that are no JSON: `/templates` takes the HTML as it is, `/suppressions:import` the CSV."""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from messagepipe.config.v1 import template_pb2
from messagepipe.config.v1 import template_service_pb2 as pb
from messagepipe.dispatch.v1 import suppression_service_pb2
from messagepipe.type.v1.channel_pb2 import CHANNEL_EMAIL

from tests.integration.gateway.conftest import House
from tests.integration.gateway.test_refusals import reason

EMAIL = template_pb2.Template.TYPE_EMAIL
HTML = {"content-type": "text/html"}


async def test_html_is_a_new_template(house: House):
    """Project, name and subject come from the URL, the HTML from the body, as it is."""
    house.config.answers["CreateTemplate"] = template_pb2.Template(id="t-1")
    page = "<p>\n{{name}} “Ü” </p>\r\n"
    response = await house.client.post(
        "/templates?projectId=demo&name=Greeting&subject=Hi%20%7B%7Bname%7D%7D", content=page.encode(), headers=HTML
    )

    assert response.status_code == 201, response.text
    wanted = template_pb2.Template(type=EMAIL, name="Greeting", subject="Hi {{name}}", html=page)
    assert house.config.last.request == pb.CreateTemplateRequest(project_id="demo", template=wanted)


async def test_html_changes_a_template(house: House):
    """What the URL does not name stays: the mask holds the HTML and what was said."""
    house.config.answers["UpdateTemplate"] = template_pb2.Template(id="t-1")
    headers = {"content-type": "Text/HTML; charset=UTF-8", "idempotency-key": "k"}
    response = await house.client.put("/templates/t-1?name=New", content=b"\xef\xbb\xbf<p>", headers=headers)

    assert response.status_code == 200, response.text
    wanted = template_pb2.Template(id="t-1", type=EMAIL, name="New", html="<p>")
    mask = FieldMask(paths=["html", "name"])
    assert house.config.last.request == pb.UpdateTemplateRequest(template=wanted, update_mask=mask, idempotency_key="k")


@pytest.mark.parametrize(
    ("url", "headers", "content", "status", "word"),
    [
        ("/templates?nme=x", HTML, b"<p>", 400, "INVALID_ARGUMENT"),
        ("/templates?html=x", HTML, b"<p>", 400, "INVALID_ARGUMENT"),
        ("/templates?version=2", HTML, b"<p>", 400, "INVALID_ARGUMENT"),
        ("/templates?type=SMS", HTML, b"<p>", 400, "INVALID_ARGUMENT"),
        ("/templates", HTML, b"", 400, "MALFORMED_TEXT"),
        ("/templates", HTML, b"\xff", 400, "MALFORMED_TEXT"),
        ("/templates", {"content-type": "text/html; charset=latin1"}, b"<p>", 415, "CONTENT_TYPE_UNSUPPORTED"),
        ("/templates", {"content-type": "text/plain"}, b"<p>", 415, "CONTENT_TYPE_UNSUPPORTED"),
        ("/sms-templates", HTML, b"<p>", 415, "CONTENT_TYPE_UNSUPPORTED"),
        ("/v1/templates", HTML, b"<p>", 415, "CONTENT_TYPE_UNSUPPORTED"),
        ("/templates?name=x", {"content-type": "application/json"}, b"{}", 400, "INVALID_ARGUMENT"),
        ("/templates", HTML, b"x" * (4 * 1024 * 1024 + 1), 413, "BODY_TOO_LARGE"),
        ("/templates", HTML, b"x" * (2 * 1024 * 1024 + 1), 413, "BODY_TOO_LARGE"),
    ],
)
async def test_what_is_no_text_body(house: House, url: str, headers: dict[str, str], content: bytes, status: int, word):
    """A wrong parameter, no body, no UTF-8, another type and another route are refused, and nothing is asked."""
    response = await house.client.post(url, content=content, headers=headers)

    assert reason(response, status) == word
    assert not house.config.asked


async def test_the_refusal_says_what_the_route_takes(house: House):
    """A route with text bodies names them beside JSON."""
    response = await house.client.post("/templates", content=b"x", headers={"content-type": "text/plain"})

    assert "application/json or text/html, not text/plain" in response.json()["message"]


async def test_a_query_parameter_of_a_rendering_stands_once(house: House):
    """A variable that is said twice is refused; an empty one is a value."""
    response = await house.client.get("/templates/render/t-1?name=a&name=b")
    assert reason(response, 400) == "INVALID_ARGUMENT"
    house.config.answers["RenderTemplate"] = pb.RenderTemplateResponse(html="x")
    assert (await house.client.get("/templates/render/t-1?name=")).json() == {"html": "x"}
    assert dict(house.config.last.request.variables) == {"name": ""}


async def test_csv_is_a_list_of_recipients(house: House):
    """A body that stands for the whole request: project and channel come from the URL, the file from the body."""
    house.dispatch.answers["ImportSuppressions"] = suppression_service_pb2.ImportSuppressionsResponse(added=2)
    file = "email,reason\nada@example.com,COMPLAINT\nbob@example.com,\n"
    response = await house.client.post(
        "/suppressions:import?projectId=demo&channel=EMAIL", content=file.encode(), headers={"content-type": "text/csv"}
    )

    assert response.status_code == 200, response.text
    wanted = suppression_service_pb2.ImportSuppressionsRequest(project_id="demo", channel=CHANNEL_EMAIL, csv=file)
    assert house.dispatch.last.request == wanted
    url = "/suppressions:import?csv=x"
    refused = await house.client.post(url, content=b"x", headers={"content-type": "text/csv"})
    assert refused.status_code == 400
