"""Whom a text is from, before the settings are asked: the message's own sender, else the project's."""

from services.adapters.base import Call, SmsContent


def sms_sender_of(call: Call) -> str:
    """The sender that the message names, else the project's; "" when neither does."""
    return own_sender(call) or (call.project_sender if isinstance(call.project_sender, str) else "")


def own_sender(call: Call) -> str:
    """The sender that the message itself names; a kind that can not carry it is unfit, it does not choose another."""
    return call.content.sender if isinstance(call.content, SmsContent) else ""
