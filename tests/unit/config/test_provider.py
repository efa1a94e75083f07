"""The rules for providers."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from services.adapters.base import Channel
from services.config.provider import (
    MAX_CONFIG_BYTES,
    Change,
    Draft,
    config_violations,
    identity_violations,
    join,
    merge_patch,
    name_violations,
    next_priority,
    order_violations,
    parse_id,
    priority_violations,
    split,
    without_blank_secrets,
)
from tests.unit.config.builders import ID, OTHER_ID, a_provider, a_spec

JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.text(max_size=3),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = some.dictionaries(some.text(max_size=3), JSON, max_size=4)

# RFC 7396, appendix A, those cases in which target and patch are objects.
RFC_7396 = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "result"), RFC_7396)
def test_merge_patch_is_rfc_7396(target: Any, patch: Any, result: Any) -> None:
    """The examples of RFC 7396 come out as printed there."""
    assert merge_patch(target, patch) == result


@given(OBJECTS, OBJECTS)
def test_merging_twice_changes_nothing_more(target: dict[str, Any], patch: dict[str, Any]) -> None:
    """A patch is idempotent, and the empty patch changes nothing."""
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once
    assert merge_patch(target, {}) == target


def test_split_takes_the_secrets_out() -> None:
    """Secrets at any depth leave what may be shown, and joining gives the whole again."""
    config = {"apiKey": "k", "port": 25, "auth": {"user": "u", "pass": "p"}}
    shown, secrets = split(a_spec(), config)
    assert shown == {"port": 25, "auth": {"user": "u"}}
    assert secrets == {"apiKey": "k", "auth": {"pass": "p"}}
    assert join(shown, secrets) == config
    assert config["auth"] == {"user": "u", "pass": "p"}


@given(some.fixed_dictionaries({}, optional={"apiKey": JSON, "port": JSON, "auth": OBJECTS, "other": JSON}))
def test_join_undoes_split(config: Mapping[str, Any]) -> None:
    """Whatever the settings are, nothing is lost or made up."""
    assert join(*split(a_spec(), config)) == config


@given(some.fixed_dictionaries({"apiKey": some.just("canary"), "auth": some.just({"pass": "canary"})}))
def test_nothing_shown_is_secret(config: Mapping[str, Any]) -> None:
    """What may be shown holds no value from below a writeOnly path."""
    assert "canary" not in repr(split(a_spec(), config)[0])


def test_blank_optional_secret_counts_as_null() -> None:
    """A form's empty field removes an optional secret; a required one stays to be refused by the schema."""
    patch = {"apiKey": "", "signingKey": "", "auth": {"pass": "", "user": ""}}
    cleaned = without_blank_secrets(a_spec(), patch)
    assert cleaned == {"apiKey": "", "signingKey": None, "auth": {"pass": None, "user": ""}}


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x00", "x" * 101, "a\u2028b"])
def test_bad_names(name: str) -> None:
    """A name is 1 to 100 characters without control characters."""
    assert [violation.field for violation in name_violations(name, "p")]


@pytest.mark.parametrize("name", ["A", "Größe ✓", "x" * 100])
def test_good_names(name: str) -> None:
    """A name may be in any script."""
    assert list(name_violations(name, "p")) == []


@pytest.mark.parametrize(("priority", "good"), [(-1, False), (0, True), (1_000_000, True), (1_000_001, False)])
def test_priorities(priority: int, good: bool) -> None:
    """A priority is 0 to 1,000,000."""
    assert (not list(priority_violations(priority, "p"))) is good


@pytest.mark.parametrize(("highest", "following"), [(None, 1), (0, 1), (41, 42), (1_000_000, 1_000_000)])
def test_next_priority_comes_last(highest: int | None, following: int) -> None:
    """A new provider comes after all others, at the upper end by its creation time."""
    assert next_priority(highest) == following


def test_config_violations_name_settings() -> None:
    """Every violation of the schema has its path below the field, and none repeats a value."""
    found = config_violations(a_spec(), {"port": 0, "auth": {"pass": "canary"}}, "provider.config")
    assert sorted(violation.field for violation in found) == [
        "provider.config.apiKey",
        "provider.config.auth.user",
        "provider.config.port",
    ]
    assert "canary" not in repr(found)


def test_config_has_a_size() -> None:
    """64 KiB as JSON pass, one byte more does not; characters count as their UTF-8 bytes."""
    spec = a_spec(config_schema={"type": "object"})
    room = MAX_CONFIG_BYTES - len('{"a":""}')
    assert config_violations(spec, {"a": "x" * room}, "c") == []
    assert [each.field for each in config_violations(spec, {"a": "x" * (room + 1)}, "c")] == ["c"]
    assert [each.field for each in config_violations(spec, {"a": "ü" * (room // 2 + 1)}, "c")] == ["c"]


def test_names_of_settings_hold_no_control_characters() -> None:
    """A member's name comes back in violations and goes into the database: NUL is refused first."""
    spec = a_spec(config_schema={"type": "object"})
    assert [each.field for each in config_violations(spec, {"a": [{"b\x00": 1}]}, "c")] == ["c"]


@pytest.mark.parametrize("text", ["", "x", f"{{{ID}}}", f"urn:uuid:{ID}", str(ID).replace("-", ""), f"{ID}\n"])
def test_only_canonical_ids_are_ids(text: str) -> None:
    """Python takes many forms for a UUID; an id has one."""
    assert parse_id(text) is None


def test_ids_are_read_in_either_case() -> None:
    """Upper case means the same id."""
    assert parse_id(str(ID)) == parse_id(str(ID).upper()) == ID


def test_orders_name_everything_once() -> None:
    """A new order is good when it is a permutation."""
    present = [ID, OTHER_ID]
    assert order_violations(present, [str(OTHER_ID), str(ID)], "o") == []
    fields = [violation.field for violation in order_violations(present, [str(ID), str(ID), "x"], "o")]
    assert fields == ["o[1]", "o[2]", "o"]


def test_fixed_values_may_be_repeated_but_not_changed() -> None:
    """Absent and equal values are fine, different ones are a violation each."""
    provider = a_provider()
    assert list(identity_violations(provider, Change(), "p")) == []
    assert list(identity_violations(provider, Change(project_id="shop", kind="acme"), "p")) == []
    found = identity_violations(provider, Change(project_id="other", kind="other"), "p")
    assert [violation.field for violation in found] == ["p.projectId", "p.provider"]


def test_values_with_secrets_do_not_print_them() -> None:
    """A draft and a change hold secrets: their repr does not."""
    draft = Draft(project_id="p", channel=Channel.EMAIL, kind="acme", name="n", config={"apiKey": "canary"})
    assert "canary" not in repr(draft) + repr(Change(config={"apiKey": "canary"}))
