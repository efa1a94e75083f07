"""What no provider says itself (providers.md §0.2): statuses that come with foreign words, and lines that break."""

from typing import NamedTuple

import httpx

from services.adapters import http
from services.adapters.http import by_status
from services.adapters.outcome import Outcome, Reason
from tests.contract.codes.case import OWN, B, C, Case, D, F, Table, answers

_RFC = "RFC 9110 §15 and its neighbours: what the status itself says"


def _status(number: int, outcome: Outcome, reason: Reason, section: str = "0.2", why: str = "") -> Case:
    return Case(section, number, "", "<h1>gremlins</h1>", outcome, reason, row=("STATUSES", number), why=why)


STATUSES = (
    _status(408, C, Reason.UNAVAILABLE),
    _status(425, C, Reason.UNAVAILABLE),
    _status(429, C, Reason.RATE_LIMITED),
    _status(503, C, Reason.UNAVAILABLE),
    _status(401, B, Reason.CREDENTIALS, "1.4"),
    _status(403, B, Reason.PERMISSION, "1.4"),
    _status(404, B, Reason.MISCONFIGURED, "1.4"),
    _status(405, B, Reason.MISCONFIGURED, "1.4"),
    _status(406, B, Reason.MISCONFIGURED, "1.4"),
    _status(415, B, Reason.MISCONFIGURED, "1.4"),
    _status(413, F, Reason.TOO_LARGE, "1.4"),
    _status(402, B, Reason.OUT_OF_CREDIT, "2.4"),
    _status(410, B, Reason.MISCONFIGURED, OWN, _RFC),
    _status(421, C, Reason.UNAVAILABLE, OWN, _RFC + ": misdirected, so not processed"),
)


def _by_class(number: int, outcome: Outcome, reason: Reason, section: str = "0.2", why: str = "") -> Case:
    return Case(section, number, "", "<h1>gremlins</h1>", outcome, reason, why=why)


CASES = (
    *STATUSES,
    _by_class(500, D, Reason.SERVER_ERROR),
    _by_class(502, D, Reason.SERVER_ERROR),
    _by_class(504, D, Reason.SERVER_ERROR),
    _by_class(302, B, Reason.MISCONFIGURED, OWN, "never followed: it would carry credentials elsewhere"),
    _by_class(400, F, Reason.REQUEST_REFUSED, "5.4"),
    _by_class(422, F, Reason.REQUEST_REFUSED, "6.4"),
    _by_class(418, F, Reason.REQUEST_REFUSED, OWN, "any other 4xx, as 400"),
    _by_class(599, D, Reason.SERVER_ERROR, OWN, "any other 5xx, as 500"),
)

WALK = answers("statuses", CASES, (Table(http, "STATUSES"),), lambda case: by_status(case.status))


class Break(NamedTuple):
    """One exception of httpx: its class in §0.2, or why it is in our table without being there."""

    error: type[Exception]
    outcome: Outcome
    reason: Reason
    why: str = ""


_BASE = "a base class: what a later httpx derives from it may have been written"

BREAKS = (
    Break(httpx.ConnectError, C, Reason.CONNECT_FAILED),
    Break(httpx.ConnectTimeout, C, Reason.CONNECT_TIMEOUT),
    Break(httpx.PoolTimeout, C, Reason.CONNECT_TIMEOUT),
    Break(httpx.UnsupportedProtocol, C, Reason.CONNECT_FAILED),
    Break(httpx.LocalProtocolError, C, Reason.CONNECT_FAILED),
    Break(httpx.WriteError, D, Reason.CONNECTION_LOST),
    Break(httpx.WriteTimeout, D, Reason.TIMEOUT),
    Break(httpx.ReadTimeout, D, Reason.TIMEOUT),
    Break(httpx.ReadError, D, Reason.CONNECTION_LOST),
    Break(httpx.RemoteProtocolError, D, Reason.UNREADABLE_ANSWER),
    Break(httpx.CloseError, D, Reason.CONNECTION_LOST),
    Break(httpx.ProxyError, C, Reason.CONNECT_FAILED, "no proxy is asked; if one were, it was not passed"),
    Break(httpx.InvalidURL, B, Reason.MISCONFIGURED, "an address in the settings that is none"),
    Break(httpx.DecodingError, D, Reason.UNREADABLE_ANSWER, "an answer came and cannot be read"),
    Break(httpx.TimeoutException, D, Reason.TIMEOUT, _BASE),
    Break(httpx.NetworkError, D, Reason.CONNECTION_LOST, _BASE),
    Break(httpx.ProtocolError, D, Reason.UNREADABLE_ANSWER, _BASE),
    Break(httpx.TransportError, D, Reason.CONNECTION_LOST, _BASE),
    Break(httpx.HTTPError, D, Reason.UNEXPECTED, _BASE),
)
