"""What the comparison must know of each maker: messages, how its own library sends one, what a request of it means.

To add a maker: write one Maker in makers/ and name it in test_requests.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.adapters.base import Call, EmailContent, SmsContent
from tests.fakes.vendor import Received
from tests.strangers.meaning import Exempt, Meaning
from tests.unit.adapters.calls import a_call


@dataclass(frozen=True, kw_only=True)
class Case:
    """One message. `settings` and `call` say it to us, `theirs` says the same to the maker's library, in its words."""

    content: EmailContent | SmsContent
    settings: Mapping[str, Any] = field(default_factory=dict)
    call: Mapping[str, Any] = field(default_factory=dict)
    theirs: Any = None


@dataclass(frozen=True, kw_only=True)
class Maker:
    """One kind beside its maker's library.

    `send` lets the library send a case to this address, our message id and attempt handed along as we do it.
    `meaning` lists every field of a request and fails on one that it does not know.
    """

    name: str
    kind: str
    settings: Callable[[str], Mapping[str, Any]]
    cases: Mapping[str, Case]
    send: Callable[[Case, str], object]
    meaning: Callable[[Received], Meaning]
    exempt: tuple[Exempt, ...]

    def call(self, case: Case, url: str) -> Call:
        """The case as our services hand it to the adapter."""
        return a_call(case.content, {**self.settings(url), **case.settings}, **case.call)


# What every call of `a_call` carries, for whom the library sends it along too.
MESSAGE_ID = a_call(SmsContent(to="", text=""), {}).message_id
ATTEMPT = str(a_call(SmsContent(to="", text=""), {}).attempt)
TIME_LEFT = int(a_call(SmsContent(to="", text=""), {}).time_left)


def plain(contents: Mapping[str, EmailContent] | Mapping[str, SmsContent]) -> dict[str, Case]:
    """A case without settings for each of these messages."""
    return {name: Case(content=content) for name, content in contents.items()}
