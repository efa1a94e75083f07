"""One request and one answer for each documented route of templates, as examples.py shows them; None: there is none."""

from collections.abc import Mapping
from typing import Any

_ID = "6f1d1a52-6d0c-4c6e-9b0e-3a3c9f6f2b11"
_TIMES = {"createdAt": "2024-01-01T10:00:00Z", "updatedAt": "2024-01-01T10:00:00Z"}
_ROUTES = {"templates": "EMAIL", "message-templates": "MESSAGE", "sms-templates": "SMS"}
_EMAIL = {"subject": "Your order {{order.id}}", "html": "<p>Hello {{name}}, your order {{order.id}} is on its way.</p>"}
_BODY = {"body": "Hello {{name}}, your order {{order.id}} is on its way."}
_VALUES = {"name": "Ada", "order": {"id": 7}}
_SAID = "Hello Ada, your order 7 is on its way."


def _of(path: str, word: str) -> dict[str, tuple[Any, Any]]:
    email = word == "EMAIL"
    content = _EMAIL if email else _BODY
    paths = ["order.id", "name"] if email else ["name", "order.id"]
    named = {"id": _ID, "projectId": "demo", "type": word, "name": "Order sent"}
    kept = {**named, "variables": paths, "version": "1", **_TIMES}
    shown = {"preview": f"<p>{_SAID}</p>", "subject": "Your order 7"} if email else {"renderedMessage": _SAID}
    variables = "/templates/variables/{id}" if email else f"/{path}/{{id}}/variables"
    return {
        f"POST /{path}": ({"projectId": "demo", "name": "Order sent", **content}, kept),
        f"GET /{path}": (None, [kept]),
        f"GET /{path}/project/{{project_id}}": (None, [kept]),
        f"GET /{path}/{{id}}": (None, {**kept, **content}),
        f"PUT /{path}/{{template.id}}": (content, {**kept, "version": "2"}),
        f"GET {variables}": (None, {"variables": paths}),
        f"POST /{path}/preview": ({"templateId": _ID, "variables": _VALUES}, {**shown, "missing": []}),
    }


TEMPLATE_EXAMPLES: Mapping[str, tuple[Any, Any]] = {
    **{name: example for path, word in _ROUTES.items() for name, example in _of(path, word).items()},
    "GET /templates/render/{id}": (None, {"subject": "Your order 7", "html": f"<p>{_SAID}</p>"}),
}
