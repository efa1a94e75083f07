"""Resume tokens of WatchProject: a position in a project's events as opaque text. It gives no access; the project is
asked for.
"""

import base64
import binascii
from uuid import UUID

from services.chassis.errors import FieldViolation, InvalidArgument

Position = tuple[int, UUID, int]  # transaction, message, sequence

_VERSION = b"\x01"


def token_from_position(position: Position) -> str:
    """The token that goes on after this position."""
    transaction, message_id, sequence = position
    packed = _VERSION + transaction.to_bytes(8) + message_id.bytes + sequence.to_bytes(8)
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def position_from_token(token: str) -> Position:
    """The position a token stands for; raises InvalidArgument for anything that is not one of ours."""
    try:
        packed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        packed = b""
    if len(packed) != 33 or packed[:1] != _VERSION or packed[1] > 0x7F or packed[25] > 0x7F:
        raise InvalidArgument(
            violations=[FieldViolation("resumeToken", "is not a token of this stream; leave it out to start from now")]
        )
    return (int.from_bytes(packed[1:9]), UUID(bytes=packed[9:25]), int.from_bytes(packed[25:]))
