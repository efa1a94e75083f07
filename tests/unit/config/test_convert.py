"""Values to messages."""

import math
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct, Value
from hypothesis import given
from hypothesis import strategies as some

from services.adapters.base import Capabilities, Channel
from services.config.chain import Chain, ChainKey, Link
from services.config.convert import chain_message, object_of, odd_numbers, provider_message, schema_message, struct_of
from services.config.kinds import Kinds
from tests.unit.config.builders import a_provider, a_spec

JSON = some.recursive(
    some.none()
    | some.booleans()
    | some.integers(-(2**53), 2**53)
    | some.floats(allow_nan=False, allow_infinity=False)
    | some.text(some.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text("abc", max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(some.dictionaries(some.text("abc", max_size=3), JSON, max_size=4))
def test_objects_survive_the_wire(value: dict[str, Any]) -> None:
    """A JSON object comes back from a Struct as it went in; whole numbers may come back as floats."""
    assert object_of(Struct.FromString(struct_of(value).SerializeToString())) == value


def test_value_of_no_kind_is_null() -> None:
    """A Value in which nothing is set, which JSON can not say, reads as null."""
    assert object_of(Struct(fields={"a": Value()})) == {"a": None}


def test_odd_numbers_are_found_at_any_depth() -> None:
    """Infinity and NaN are named by path."""
    value = {"a": math.inf, "b": [1.0, {"c": math.nan}], "d": 1.5}
    assert list(odd_numbers(value, "p")) == ["p.a", "p.b[1].c"]


def test_what_todays_schema_calls_secret_is_not_shown() -> None:
    """A setting stored openly by an older version of a kind is left out once its schema says writeOnly."""
    message = provider_message(a_provider(settings={"apiKey": "canary", "port": 25}), Kinds([a_spec()]))
    assert MessageToDict(message.config) == {"port": 25.0}


def test_provider_of_a_missing_kind_is_still_shown() -> None:
    """A plug-in that is not installed any more does not hide its providers."""
    message = provider_message(a_provider(kind="gone", settings={"port": 25}), Kinds([]))
    assert (message.kind, message.id) == ("gone", "00000000-0000-4000-8000-00000000000a")


def test_chain_shows_settings_once() -> None:
    """In a chain a provider's own config is empty and the opened one is whole."""
    link = Link(provider=a_provider(settings={"port": 25}), opened={"port": 25, "apiKey": "k"})
    message = chain_message(Chain(key=ChainKey("shop", Channel.SMS), version=7, links=(link,)))
    assert (message.project_id, message.version, message.HasField("channel_config")) == ("shop", 7, False)
    assert not message.links[0].provider.config.fields
    assert MessageToDict(message.links[0].opened_config) == {"port": 25.0, "apiKey": "k"}


@pytest.mark.parametrize("able", ["receipts", "idempotency_key", "lookup", "attachments", "validity"])
def test_schema_says_what_a_kind_can_do(able: str) -> None:
    """Each capability of the contract is the spec's of the same name."""
    message = schema_message(a_spec(capabilities=Capabilities(**{able: True})))
    assert [field.name for field, _ in message.capabilities.ListFields()] == [able]
    assert MessageToDict(message)["provider"] == "acme"
