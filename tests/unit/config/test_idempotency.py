"""What a key of a configuration write stands for, without a database."""

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Struct
from messagepipe.config.v1 import config_service_pb2 as pb2
from messagepipe.config.v1 import provider_pb2
from messagepipe.type.v1.channel_pb2 import CHANNEL_EMAIL

from services.config.convert import without_secrets
from services.config.idempotency import Once, key_violations, once_of
from services.config.kinds import Kinds
from tests.unit.config.builders import a_spec


def the_once(request: Any) -> Once:
    """What the request's key stands for."""
    found = once_of(request, lambda _: b"")
    assert found is not None
    return found


def a_creation(key: str = "k", project: str = "", **config: str) -> pb2.CreateProviderRequest:
    """A request for a provider."""
    struct = Struct()
    struct.update(config)
    provider = provider_pb2.Provider(kind="acme", name="A", config=struct)
    return pb2.CreateProviderRequest(project_id=project, provider=provider, idempotency_key=key)


def test_without_a_key_there_is_nothing() -> None:
    """A write without a key is always done."""
    assert once_of(a_creation(key=""), lambda _: b"") is None


def test_what_makes_a_request_the_same() -> None:
    """Neither the key nor where the project was said counts; any setting does, secret or not."""
    inside = a_creation()
    inside.provider.project_id = "shop"
    same = [a_creation(), a_creation("other key"), a_creation(project="shop"), inside]

    assert len({the_once(each).content for each in same}) == 1
    assert the_once(a_creation(apiKey="one")).content != the_once(a_creation(apiKey="two")).content


def test_the_order_of_a_mask_does_not_count() -> None:
    """A JSON body with its members in another order is the same request."""
    provider = provider_pb2.Provider(id="p", name="n", priority=1)
    one, other = (
        pb2.UpdateProviderRequest(provider=provider, update_mask=FieldMask(paths=paths), idempotency_key="k")
        for paths in (["name", "priority"], ["priority", "name"])
    )

    assert the_once(one).content == the_once(other).content
    assert list(other.update_mask.paths) == ["priority", "name"]


def test_a_once_shows_no_secret() -> None:
    """It can be logged by accident without harm."""
    assert "hunter2" not in repr(the_once(a_creation(apiKey="hunter2")))


@pytest.mark.parametrize(("key", "wrong"), [("", False), ("k", False), ("é", True), ("x" * 256, True)])
def test_the_form_of_a_key(key: str, wrong: bool) -> None:
    """A malformed key is one violation; requests that take none have none."""
    assert [each.field for each in key_violations(a_creation(key))] == (["idempotencyKey"] if wrong else [])
    assert key_violations(pb2.GetProviderRequest()) == []


def test_a_stored_answer_loses_what_became_a_secret() -> None:
    """A setting that was shown when it was stored, and that today's schema calls a secret, is not shown again."""
    stored = provider_pb2.Provider(kind="acme", channel=CHANNEL_EMAIL)
    stored.config.update({"port": 25, "apiKey": "hunter2", "auth": {"user": "u", "pass": "hunter2"}})

    shown = without_secrets(stored, Kinds([a_spec()]))

    assert dict(shown.config) == {"port": 25, "auth": shown.config["auth"]}
    assert "hunter2" not in str(shown)
