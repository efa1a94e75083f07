"""Idempotency keys, as every service of ours understands them: their form, and what "the same request" means. It keeps
none.
"""

import re
from collections.abc import Iterable

from google.protobuf.message import Message

MAX_KEY_CHARS = 255
DEFAULT_HOURS = 168
LEAST_HOURS, MOST_HOURS = 24, 8760
# In the initial metadata of an answer that repeats an earlier one; its value is "true".
REPLAYED = "messagepipe-replayed"

_KEY = re.compile(rf"[ -~]{{1,{MAX_KEY_CHARS}}}")


def key_problem(key: str) -> str | None:
    """What is wrong with a key that was given; None when nothing is."""
    return None if _KEY.fullmatch(key) else f"must be 1-{MAX_KEY_CHARS} printable ASCII characters"


def content_of(request: Message, *, without: Iterable[str]) -> bytes:
    """The same bytes for the same request, whoever serialised it and in whatever order its maps came; another type of
    request never has them. `without` are the paths of fields that do not count, such as the key itself.
    """
    counted = type(request)()
    counted.CopyFrom(request)
    for path in without:
        *front, last = path.split(".")
        owner: Message | None = counted
        for step in front:
            owner = getattr(owner, step) if owner is not None and owner.HasField(step) else None
        if owner is not None:
            owner.ClearField(last)
    return f"{request.DESCRIPTOR.full_name}\0".encode() + counted.SerializeToString(deterministic=True)
