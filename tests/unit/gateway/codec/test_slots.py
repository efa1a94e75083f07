"""Fields that a URL fills."""

import pytest
from messagepipe.config.v1 import config_service_pb2 as config
from messagepipe.dispatch.v1 import dispatch_service_pb2 as dispatch

from gateway.codec.reader import Violations
from gateway.codec.slots import Query, slot_at
from gateway.descriptors import type_of


def test_a_slot_goes_by_its_json_path():
    """And leads through messages."""
    request = config.UpdateProviderRequest()
    slot = slot_at(type_of(request), ("provider", "kind"))
    slot.set(request, "ses")

    assert (slot.name, slot.value(request), request.provider.kind) == ("provider.provider", "ses", "ses")


def test_a_slot_that_leads_nowhere_is_an_error():
    """It can only come from a contract that routes.py has not seen."""
    with pytest.raises(KeyError):
        slot_at(type_of(config.UpdateProviderRequest()), ("provider", "nope"))


def test_a_query_fills_every_kind_of_field():
    """Lists by repetition, messages by dots, masks and times as text."""
    request = dispatch.SendBulkMessagesRequest()
    violations = Violations()
    query = Query(type_of(request), None, frozenset())
    pairs = [
        ("recipients", "a"),
        ("recipients", "b"),
        ("message.channel", "SMS"),
        ("message.max_tries", "3"),
        ("message.preferredProviderStrict", "true"),
        ("message.ttl", "5s"),
    ]
    asked = query.fill(request, pairs, violations)

    assert not violations
    assert list(request.recipients) == ["a", "b"]
    assert (request.message.channel, request.message.max_tries, request.message.ttl.seconds) == (2, 3, 5)
    assert request.message.preferred_provider_strict
    assert ("message", "ttl") in asked


def test_what_others_fill_is_no_parameter():
    """The body's field, the path's, and the header's."""
    filled = frozenset({("project_id",), ("idempotency_key",)})
    query = Query(type_of(config.CreateProviderRequest()), ("provider",), filled)

    assert query.slots == []


def test_unknown_parameters_say_what_there_is():
    """The nearest, or all, or none."""
    request = config.ListProvidersRequest()
    violations = Violations()
    Query(type_of(request), None, frozenset()).fill(request, [("projectid", "x"), ("zzz", "x")], violations)
    Query(type_of(config.GetProviderRequest()), None, frozenset({("id",), ("channel",)})).fill(
        config.GetProviderRequest(), [("x", "")], violations
    )
    hints = [each.description.partition("; ")[2] for each in violations.all()]

    assert hints == ["did you mean projectId?", "there are channel, pageSize, pageToken, projectId", "it has none"]
