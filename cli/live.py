"""Events on a terminal as they come. What an event says is story.py's affair; where it comes from is the caller's."""

from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent

from cli.story import json_of, line_of, pending_line
from cli.terminal import Colour, Terminal


def show(event: DeliveryEvent, *, terminal: Terminal, as_json: bool) -> None:
    """One event of the one message that is followed; an open attempt is a line that its outcome replaces."""
    if as_json:
        terminal.say(json_of(event))
        return
    if (pending := pending_line(event)) is not None:
        terminal.pending(pending)
    if (line := line_of(event)) is not None:
        terminal.say(terminal.paint(*line))


def show_among_others(event: DeliveryEvent, *, terminal: Terminal, as_json: bool) -> None:
    """One event of a project, with the message's id before it, or the word "provider" where it is about one."""
    if as_json:
        terminal.say(json_of(event))
        return
    line = ("  accepted", Colour.QUIET) if event.HasField("queued") else line_of(event)
    if line is not None:
        terminal.say(f"{event.message_id or 'provider'}{terminal.paint(*line)}")
