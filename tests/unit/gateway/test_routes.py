"""Routes read from descriptors; contracts that make no sense do not start."""

import pytest
from google.api.http_pb2 import CustomHttpPattern, HttpRule
from messagepipe.http.v1.binding_pb2 import Binding

from gateway.app import codecs
from gateway.routes import METHODS, RouteError, routes_of
from tests.unit.gateway.contracts import a_service


def test_the_contract_s_own_routes_are_sound():
    """Every documented and canonical route exists once, with a method HTTP knows."""
    routes = [codec.route for codec in codecs()]

    assert len(routes) == len({route.name for route in routes}) >= 59
    assert {route.method for route in routes} <= set(METHODS)


def test_additional_bindings_are_routes_too():
    """One rule may serve several paths."""
    rule = HttpRule(get="/a/{id}", additional_bindings=[HttpRule(get="/b/{id}")])

    assert [route.name for route in routes_of([a_service(rule)])] == ["GET /a/{id}", "GET /b/{id}"]


BROKEN = [
    (HttpRule(get="/a/{nope}"), "nope is not a scalar field"),
    (HttpRule(get="/a/{inner}"), "inner is not a scalar field"),
    (HttpRule(get="/a/{many}"), "many is not a scalar field"),
    (HttpRule(get="/a/{id.x}"), "id.x is not a scalar field"),
    (HttpRule(post="/a", body="id"), "is not a message field"),
    (HttpRule(post="/a", body="nope"), "is not a message field"),
    (HttpRule(get="/a", body="*"), "GET takes no body"),
    (HttpRule(get="a"), "does not begin with /"),
    (HttpRule(get="/a", response_body="nope"), "has no field 'nope'"),
    (HttpRule(custom=CustomHttpPattern(kind="LINK", path="/a")), "does not begin with /"),
]


@pytest.mark.parametrize(("rule", "words"), BROKEN)
def test_a_rule_that_does_not_fit_is_refused(rule: HttpRule, words: str):
    """With the reason."""
    with pytest.raises(RouteError, match=words):
        routes_of([a_service(rule)])


BROKEN_BINDINGS = [
    (Binding(method="FETCH", path="/a"), "the method must be one of"),
    (Binding(method="GET", path="/a", constants={"nope": "x"}), "nope is not a scalar field"),
    (Binding(method="GET", path="/a", constants={"color": "COLOR_BLUE"}), "COLOR_BLUE is not a value"),
    (Binding(method="POST", path="/a", body="*", lift={"x": "many"}), "can not be lifted"),
    (Binding(method="POST", path="/a", body="inner", lift={"x": "nope"}), "can not be lifted"),
    (Binding(method="POST", path="/a", body="inner", texts={"text/html": "id"}), "it is no text within"),
    (Binding(method="POST", path="/a", body="inner", texts={"text/html": "inner.nope"}), "it is no text within"),
    (Binding(method="GET", path="/a", query_map="id"), "is not a map of strings"),
    (Binding(method="GET", path="/a", success_status=404), "404 is no status of success"),
    (Binding(method="GET", path="/a/{id}", constants={"id": "1"}), "a field is filled twice"),
]


@pytest.mark.parametrize(("binding", "words"), BROKEN_BINDINGS)
def test_a_binding_that_does_not_fit_is_refused(binding: Binding, words: str):
    """With the reason."""
    with pytest.raises(RouteError, match=words):
        routes_of([a_service(bindings=(binding,))])


def test_two_routes_that_match_the_same_are_refused():
    """Whatever their variables are called; the message names both."""
    service = a_service(HttpRule(get="/a/{id}"), HttpRule(get="/a/{inner.id}"))
    with pytest.raises(RouteError, match=r"GET /a/\{inner.id\} .* is the same route as GET /a/\{id\}"):
        routes_of([service])


def test_all_problems_are_told_at_once():
    """A contract is repaired in one go."""
    with pytest.raises(RouteError) as refused:
        routes_of([a_service(HttpRule(get="/a/{x}"), HttpRule(get="b"))])

    assert len(str(refused.value).splitlines()) == 2


def test_a_method_that_takes_a_stream_has_no_route():
    """HTTP/1.1 can not say it."""
    with pytest.raises(RouteError, match="takes a stream"):
        routes_of([a_service(HttpRule(post="/a", body="*"), client_streaming=True)])
