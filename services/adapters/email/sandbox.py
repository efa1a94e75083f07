"""The email sandbox: recipients that stand for an outcome. Not a mail server: nothing leaves the process."""

from services.adapters.base import Capabilities, Channel, ProviderSpec
from services.adapters.check import Rehearsal
from services.adapters.sandbox import SCHEMA, WORDS

DOMAIN = "sandbox.test"
REHEARSAL = Rehearsal(recipient=f"accepted@{DOMAIN}", sender=f"sender@{DOMAIN}")

SPEC = ProviderSpec(
    kind="sandbox",
    channel=Channel.EMAIL,
    title="Sandbox (email)",
    description=f"Plays scripted outcomes and keeps what it took. Recipients like deferred@{DOMAIN} stand for one.",
    documentation_url="",
    capabilities=Capabilities(
        attachments=True, inline_attachments=True, cc_bcc=True, custom_headers=True, tags=True, metadata=True
    ),
    config_schema=SCHEMA,
)


def by_recipient(recipient: str) -> str | None:
    """The word this recipient stands for: `deferred@sandbox.test` and so on, `deferred+anything@sandbox.test` too."""
    local, _, domain = recipient.lower().rpartition("@")
    word = local.partition("+")[0]
    return word if domain == DOMAIN and word in WORDS else None
