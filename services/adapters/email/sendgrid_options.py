"""What a message may say to SendGrid alone, in the names of its Mail Send API."""

from collections.abc import Mapping
from typing import Any


def _switch(title: str, **more: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "type": "object",
        "title": title,
        "required": ["enable"],
        "additionalProperties": False,
        "properties": {"enable": {"type": "boolean"}, **more},
    }


_TEXT: Mapping[str, Any] = {"type": "string", "maxLength": 10_000}
_WORD: Mapping[str, Any] = {"type": "string", "maxLength": 255}

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "asm": {
            "type": "object",
            "title": "Unsubscribe group",
            "description": "The group the message belongs to, and those its recipient may leave.",
            "required": ["group_id"],
            "additionalProperties": False,
            "properties": {
                "group_id": {"type": "integer"},
                "groups_to_display": {"type": "array", "maxItems": 25, "items": {"type": "integer"}},
            },
        },
        "ip_pool_name": {"type": "string", "minLength": 2, "maxLength": 64, "title": "IP pool"},
        "tracking_settings": {
            "type": "object",
            "title": "Tracking",
            "additionalProperties": False,
            "properties": {
                "click_tracking": _switch("Clicks", enable_text={"type": "boolean"}),
                "open_tracking": _switch("Opens", substitution_tag=_WORD),
                "subscription_tracking": _switch("Unsubscribe link", text=_TEXT, html=_TEXT, substitution_tag=_WORD),
                "ganalytics": _switch(
                    "Google Analytics",
                    utm_source=_WORD,
                    utm_medium=_WORD,
                    utm_term=_WORD,
                    utm_content=_WORD,
                    utm_campaign=_WORD,
                ),
            },
        },
        "mail_settings": {
            "type": "object",
            "title": "Mail settings",
            "additionalProperties": False,
            "properties": {
                "bypass_list_management": _switch("Ignore every suppression"),
                "bypass_spam_management": _switch("Ignore spam reports"),
                "bypass_bounce_management": _switch("Ignore earlier bounces"),
                "bypass_unsubscribe_management": _switch("Ignore unsubscribes"),
                "footer": _switch("Footer", text=_TEXT, html=_TEXT),
            },
        },
    },
}
