"""What email-validator says of an address, in a few microseconds for those that look like nearly all: it needs thirty,
most of them for the domain, and a domain's answer does not depend on who has a mailbox there. No rules of its own.
"""

import re
from functools import lru_cache

from email_validator import EmailNotValidError, ValidatedEmail, validate_email
from email_validator.rfc_constants import CASE_INSENSITIVE_MAILBOX_NAMES, EMAIL_MAX_LENGTH

# Of a few hundred bytes each at most; no part of an address before its @ is remembered.
REMEMBERED = 4096

# A dot-atom (RFC 5322 §3.2.3) in ASCII, and what may be a name of hosts in ASCII.
_ATOM = r"[A-Za-z0-9_!#$%&'*+\-/=?^`{|}~]+"
_PLAIN = re.compile(rf"({_ATOM}(?:\.{_ATOM})*)@([A-Za-z0-9.-]+)")
_IN_ANY_CASE = frozenset(CASE_INSENSITIVE_MAILBOX_NAMES)


def checked(address: str) -> tuple[str, str]:
    """The part before the @ and the domain, normalised; raises EmailNotValidError as email-validator words it."""
    plain = _PLAIN.fullmatch(address) if len(address) <= EMAIL_MAX_LENGTH else None
    domain = _plain_domain(plain[2]) if plain else None
    if plain is None or domain is None:
        found = _asked(address)
        return found.local_part, found.domain
    local = plain[1]
    return local.lower() if local.lower() in _IN_ANY_CASE else local, domain


@lru_cache(maxsize=REMEMBERED)
def _plain_domain(domain: str) -> str | None:
    """The domain in small letters; None where there is more to say: it is refused, or it is no ASCII in truth."""
    try:
        found = _asked(f"a@{domain}").domain
    except EmailNotValidError:
        return None
    return found if found == domain.lower() else None


def _asked(address: str) -> ValidatedEmail:
    return validate_email(address, check_deliverability=False, test_environment=True)
