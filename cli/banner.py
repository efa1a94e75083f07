"""What `up` says when everything stands: addresses, and lines to paste. Pure text; nothing is asked or sent."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from cli.settings import Plan

DISPATCH_METHOD = "messagepipe.dispatch.v1.DispatchService/DispatchMessage"
EXAMPLE = {"to": "ada@example.com", "subject": "Hello", "text": "Hello from messagepipe"}


def addresses(plan: Plan, logs: str) -> list[str]:
    """Where everything is."""
    return [
        f"  HTTP  http://{plan.target('gateway')}  (/docs, /openapi.json, /healthz, /readyz)",
        f"  gRPC  config {plan.target('config')} · dispatch {plan.target('dispatch')}  (reflection is on)",
        f"  logs  {logs}",
    ]


def curl_line(plan: Plan, *, project: str, token: str) -> str:
    """Sends one email over REST; can be pasted into a shell as it is."""
    return " ".join(
        [
            "curl -sS",
            shlex.quote(f"http://{plan.target('gateway')}/email/send"),
            f"-H {shlex.quote(f'authorization: Bearer {token}')}",
            "-H 'content-type: application/json'",
            f"-d {_quoted({'projectId': project, **EXAMPLE})}",
        ]
    )


def grpcurl_line(plan: Plan, *, project: str, token: str) -> str:
    """Sends one email over gRPC and shows every event; can be pasted into a shell as it is."""
    message = {"message": {"projectId": project, "channel": "CHANNEL_EMAIL", **EXAMPLE}}
    return " ".join(
        [
            "grpcurl -plaintext",
            f"-H {shlex.quote(f'authorization: Bearer {token}')}",
            f"-d {_quoted(message)}",
            plan.target("dispatch"),
            DISPATCH_METHOD,
        ]
    )


def _quoted(value: Mapping[str, Any]) -> str:
    return shlex.quote(json.dumps(value, separators=(",", ":")))
