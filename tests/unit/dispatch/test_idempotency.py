"""R9 without a database: what a key stands for, and what a second request with it is answered."""

from dataclasses import replace
from uuid import UUID

from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb

from services.dispatch.idempotency import Binding, Key, Standing, key_for_recipient, key_of, key_of_bulk, standing_for
from tests.builders import MESSAGE_ID, NOON, PROJECT, a_spec, seconds

STANDING = Standing(message_id=MESSAGE_ID, created_at=NOON, deadline=NOON + seconds(60))


def the_key(text: str = "k", project: str = PROJECT, **fields: object) -> Key:
    """The key of a message."""
    found = key_of(a_spec(idempotency_key=text, **fields), project)
    assert found is not None
    return found


def test_without_a_key_there_is_none() -> None:
    """A message without a key is always a message of its own."""
    assert key_of(a_spec(), PROJECT) is None


def test_the_content_makes_the_fingerprint() -> None:
    """The key itself does not count, nor whether the project was said or implied; anything else does."""
    one = the_key()

    assert one.fingerprint == the_key("another").fingerprint
    assert one.fingerprint == the_key(project_id="").fingerprint == the_key(project_id=PROJECT).fingerprint
    changed = [the_key(text="!", subject="x"), the_key(subject="x"), the_key(max_tries=2), the_key(project="other")]
    assert all(one.fingerprint != each.fingerprint for each in changed)


def test_the_first_request_is_answered_with_its_own_message() -> None:
    """A message that its own request made is not replayed."""
    key = the_key()

    assert standing_for(MESSAGE_ID, key, Binding(fingerprint=key.fingerprint, standing=STANDING)) == STANDING


def test_a_repeat_is_answered_with_the_earlier_message() -> None:
    """The same content is the earlier message, marked."""
    key = the_key()

    found = standing_for(UUID(int=9), key, Binding(fingerprint=key.fingerprint, standing=STANDING))

    assert found == replace(STANDING, replayed=True)


def test_another_content_is_refused() -> None:
    """Another content has no answer, and neither has a key that stands for a whole bulk request."""
    key = the_key()

    assert standing_for(UUID(int=9), key, Binding(fingerprint=b"another", standing=STANDING)) is None
    assert standing_for(UUID(int=9), key, Binding(fingerprint=key.fingerprint, standing=None)) is None


def test_the_keys_of_a_bulk_request() -> None:
    """The whole request has one key, recipients included; each recipient's own is the same with every repeat."""
    spec = a_spec(to="", idempotency_key="k")
    request = pb.SendBulkMessagesRequest(message=spec, recipients=["a@example.com", "b@example.com"])
    fewer = pb.SendBulkMessagesRequest(message=spec, recipients=["a@example.com"])

    assert key_of_bulk(request, PROJECT) == key_of_bulk(request, PROJECT)
    assert key_of_bulk(request, PROJECT).text == "k"
    assert key_of_bulk(request, PROJECT).fingerprint != key_of_bulk(fewer, PROJECT).fingerprint
    assert key_for_recipient("k", "a@example.com") == key_for_recipient("k", "a@example.com")
    derived = {key_for_recipient(*each) for each in (("k", "a"), ("k", "b"), ("ka", ""), ("", "ka"))}
    assert len(derived) == 4
    assert all(len(each) <= 255 for each in derived)
