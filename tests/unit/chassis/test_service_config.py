"""What clients are told to try again is what does no harm twice, and the file says what the code says."""

import json
from pathlib import Path
from typing import Any

import pytest
from messagepipe.auth.v1 import scope_pb2

from services.chassis.contract import CONFIG_SERVICES, DISPATCH_SERVICES
from services.chassis.service_config import (
    CONFIG,
    DISPATCH,
    KEYED,
    PROJECTS,
    READS,
    SUPPRESSION,
    WEBHOOK,
    service_config,
)

FILE = Path(__file__).parents[3] / "protos" / "service_config.json"
METHODS: dict[str, Any] = {
    service.full_name: service.methods_by_name for service in (*CONFIG_SERVICES, *DISPATCH_SERVICES)
}
# A second time is a second thing, or says that there is nothing left to do.
NEVER = {
    CONFIG: {"TestProvider", "WatchChains"},
    PROJECTS: {"CreateProject", "DeleteProject", "CreateApiKey", "UpdateApiKey", "DeleteApiKey", "WatchApiKeys"},
    DISPATCH: {"CancelMessage", "RetryMessage", "RetryDelivery", "RetryDeliveries"},
    SUPPRESSION: {"DeleteSuppression", "ImportSuppressions"},
    WEBHOOK: {"CreateWebhook", "DeleteWebhook", "RotateWebhookSecret", "TestWebhook"},
}


def test_the_file_is_what_the_code_says() -> None:
    """protos/service_config.json is the default, for clients that are not ours."""
    assert json.loads(FILE.read_text("utf-8")) == service_config()


@pytest.mark.parametrize("service", METHODS)
def test_every_method_is_in_one_list(service: str) -> None:
    """A new method belongs to the reads, to those with a key, or to those that are never tried again by themselves."""
    listed = [*READS[service], *KEYED[service], *NEVER.get(service, ())]
    assert sorted(listed) == sorted(METHODS[service])


@pytest.mark.parametrize("service", METHODS)
def test_with_a_key_are_those_whose_request_has_a_place_for_one(service: str) -> None:
    """In the request, in its message, or in each of its messages; reads have none, whatever they are asked with."""
    takes_key = {
        name
        for name, method in METHODS[service].items()
        if not method.GetOptions().Extensions[scope_pb2.required_scope].endswith(":read")
        and any(
            "idempotency_key" in place.fields_by_name
            for place in (method.input_type, *(field.message_type for field in method.input_type.fields))
            if place is not None
        )
    }
    assert takes_key == set(KEYED[service])


@pytest.mark.parametrize("service", METHODS)
def test_what_reads_is_tried_again(service: str) -> None:
    """Every method that asks for a scope to read is among the reads."""
    reads = {
        name
        for name, method in METHODS[service].items()
        if method.GetOptions().Extensions[scope_pb2.required_scope].endswith(":read")
    }
    assert reads <= set(READS[service])


def test_without_keys_only_reads_are_tried_again() -> None:
    """Who does not send keys must not send twice."""
    (methods,) = service_config(keyed=False)["methodConfig"]
    assert {name["method"] for name in methods["name"]} == {name for names in READS.values() for name in names}
