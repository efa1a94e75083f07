"""JSON objects into messages, all mistakes at once."""

from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from messagepipe.dispatch.v1 import dispatch_service_pb2 as dispatch
from messagepipe.dispatch.v1 import message_pb2

from gateway.codec import reader as reader_module
from gateway.codec import scalars
from gateway.codec.reader import MAX_VIOLATIONS, Violations, message_reader
from gateway.codec.text import parse
from gateway.codec.writer import Writers
from gateway.descriptors import type_of


def read(into: Any, value: Any) -> list[str]:
    """Fills a message and answers the paths that are wrong."""
    violations = Violations()
    message_reader(type_of(into)).read(into, value, "", violations)
    return [each.field for each in violations.all()]


def test_names_are_taken_in_both_spellings():
    """JSON name or the proto's own."""
    one, other = message_pb2.MessageSpec(), message_pb2.MessageSpec()

    assert read(one, {"projectId": "p", "from": "a", "replyTo": "b"}) == []
    assert read(other, {"project_id": "p", "sender": "a", "reply_to": "b"}) == []
    assert one == other == message_pb2.MessageSpec(project_id="p", sender="a", reply_to="b")


def test_every_mistake_has_its_path():
    """Through lists, maps and messages."""
    value = {
        "too": 1,
        "attachments": [{"content": "aGk="}, {"content": 5, "x": 1}, None, "a"],
        "tags": ["a", None, 5],
        "metadata": {"a": "b", "c": 1},
        "headers": [],
        "cc": {},
        "ttl": 5,
    }

    assert read(message_pb2.MessageSpec(), value) == [
        "too",
        "attachments[1].content",
        "attachments[1].x",
        "attachments[2]",
        "attachments[3]",
        "tags[1]",
        "tags[2]",
        "metadata.c",
        "headers",
        "cc",
        "ttl",
    ]


@pytest.mark.parametrize("value", [None, [], "x", 5, True])
def test_a_message_is_an_object(value: Any):
    """Nothing else is."""
    assert read(message_pb2.MessageSpec(), value) == [""]


def test_null_means_not_set():
    """As ProtoJSON has it."""
    into = message_pb2.MessageSpec()

    assert read(into, {"to": None, "ttl": None, "tags": None, "channel": None, "headers": None}) == []
    assert into == message_pb2.MessageSpec()


def test_repeated_names_are_told():
    """In messages and in maps."""
    into = message_pb2.MessageSpec()

    assert read(into, parse(b'{"to": "a", "to": "b", "headers": {"X": "1", "X": "2"}}')) == ["to", "headers.X"]


def test_two_members_of_one_choice_are_told():
    """A oneof takes one."""
    value = {"messageId": "a", "error": None}

    assert read(dispatch.BatchCreateMessagesResponse.Result(), value) == ["error"]


def test_the_list_of_violations_ends():
    """With how many were left out."""
    violations = Violations()
    for number in range(MAX_VIOLATIONS + 5):
        violations.add(str(number), "x" * 10)

    assert len(violations.all()) == MAX_VIOLATIONS + 1
    assert violations.all()[-1].description == "and 5 more"


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
specs = st.builds(
    message_pb2.MessageSpec,
    project_id=words,
    channel=st.sampled_from([0, 1, 2]),
    to=words,
    html=words,
    cc=st.lists(words, max_size=3),
    headers=st.dictionaries(words, words, max_size=3),
    attachments=st.lists(st.builds(message_pb2.Attachment, filename=words, content=st.binary(max_size=9)), max_size=2),
    max_tries=st.integers(-(2**31), 2**31 - 1),
    preferred_provider_strict=st.booleans(),
    deadline=st.none() | st.builds(Timestamp, seconds=st.integers(0, 2**33), nanos=st.integers(0, 999_999_999)),
    unknown_policy=st.sampled_from([0, 1, 2]),
)


@given(specs)
def test_what_protobuf_writes_is_read(spec: message_pb2.MessageSpec):
    """json_format's JSON is ours too."""
    into = message_pb2.MessageSpec()

    assert read(into, json_format.MessageToDict(spec)) == []
    assert into == spec


@given(specs)
def test_what_we_write_is_read(spec: message_pb2.MessageSpec):
    """Our own JSON comes back as the same message."""
    into = message_pb2.MessageSpec()

    assert read(into, Writers({}).of(type_of(spec))(spec)) == []
    assert into == spec


def test_what_is_only_counted_costs_nothing_more(monkeypatch: pytest.MonkeyPatch):
    """Looking for what was meant by a name or a word: for those that are told, not for a million of them."""
    asked: list[str] = []

    def close(word: str, *_: Any, **__: Any) -> list[str]:
        asked.append(word)
        return []

    for module in (reader_module, scalars):
        monkeypatch.setattr(module, "get_close_matches", close)
    unknown: dict[str, Any] = {f"n{number}": 1 for number in range(500)}
    assert len(read(message_pb2.MessageSpec(), unknown)) == MAX_VIOLATIONS + 1
    words: dict[str, Any] = {"messages": [{"channel": "EMIAL" * 1000}] * 500}
    assert len(read(dispatch.BatchCreateMessagesRequest(), words)) == MAX_VIOLATIONS + 1
    assert len(asked) == 2 * MAX_VIOLATIONS
    assert max(map(len, asked)) <= scalars.MAX_HINTED_CHARS
