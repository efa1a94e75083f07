"""Every HTTP route of the contract: what a client sends, the RPC it becomes, the answer, the JSON that comes back."""

import pytest

from gateway.app import codecs
from services.chassis.contract import CONFIG_SERVICES
from tests.integration.gateway.cases import Case
from tests.integration.gateway.cases_canonical import CANONICAL
from tests.integration.gateway.cases_documented import DOCUMENTED
from tests.integration.gateway.cases_log import LOG
from tests.integration.gateway.cases_people import PEOPLE
from tests.integration.gateway.cases_projects import PROJECTS
from tests.integration.gateway.cases_templates import TEMPLATES
from tests.integration.gateway.conftest import House

ROUTES: dict[str, Case] = {**DOCUMENTED, **PROJECTS, **CANONICAL, **LOG, **PEOPLE, **TEMPLATES}


def test_every_route_of_the_contract_is_in_the_table():
    """A route that the protos have and this table has not, or the other way round, fails here."""
    assert {codec.route.name for codec in codecs()} == set(ROUTES)


@pytest.mark.parametrize("name", sorted(ROUTES))
async def test_route(house: House, name: str):
    """The route's JSON becomes exactly its request message, and the answer its documented JSON and status."""
    case = ROUTES[name]
    method = name.partition(" ")[0]
    ours = {method.name for service in CONFIG_SERVICES for method in service.methods}
    service = house.config if case.rpc in ours else house.dispatch
    service.answers[case.rpc] = case.answer
    response = await house.client.request(method, case.url, json=case.body, headers=case.headers)

    assert response.status_code == case.status, response.text
    assert (service.last.rpc, service.last.request) == (case.rpc, case.request)
    if case.status == 204:
        assert response.content == b""
    else:
        assert response.json() == case.json
        assert response.headers["content-type"] == "application/json"
