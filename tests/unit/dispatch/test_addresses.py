"""The short way to an address's answer is email-validator's own answer."""

import idna
import pytest
from email_validator import EmailNotValidError, validate_email
from email_validator.rfc_constants import CASE_INSENSITIVE_MAILBOX_NAMES
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.dispatch import addresses

ODD = ".-_+@\"<> \\'\n\x00é\u0338\u0661\uff10\uff20\uff0e\u05d0\ufb00"
ATOMS = st.text("abzAZ019.-_+'!#/=?^`{|}~", min_size=1, max_size=8) | st.text("ab." + ODD, max_size=6)
LOCALS = (
    ATOMS
    | st.sampled_from(CASE_INSENSITIVE_MAILBOX_NAMES).flatmap(lambda name: st.sampled_from([name, name.title()]))
    | st.integers(60, 255).map(lambda length: "a" * length)
)
LABELS = (
    st.text("abzAZ019-", min_size=1, max_size=6)
    | st.sampled_from(["xn--", "XN--mnchen-3ya", "xn--4dbc", "xn--a", "ab--c", "test", "TEST", "local", "arpa"])
    | st.integers(61, 65).map(lambda length: "a" * length)
    | st.text("ab" + ODD, max_size=4)
)
DOMAINS = st.lists(LABELS, max_size=5).map(".".join) | LABELS.map(lambda label: f"{label}.com")
# Twenty times alef: shorter in ASCII than in UTF-8.
ALEFS = idna.encode("\u05d0" * 20).decode()
ADDRESSES = st.builds("{}@{}".format, LOCALS, DOMAINS) | st.text("ab" + ODD, max_size=12)


def answer(address: str) -> tuple[str, str] | str:
    """What the short way says, or why it refuses."""
    try:
        return addresses.checked(address)
    except EmailNotValidError as error:
        return str(error)


def theirs(address: str) -> tuple[str, str] | str:
    """What email-validator says, or why it refuses."""
    try:
        found = validate_email(address, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        return str(error)
    assert found.normalized == f"{found.local_part}@{found.domain}"
    return found.local_part, found.domain


@given(ADDRESSES)
@example("ada@EXAMPLE.com")
@example("PostMaster@example.com")
@example("a..b@example.com")
@example("a@example.com\n")
@example("a@b--c.com")
@example("a@xn--mnchen-3ya.de")
@example("a@a_b.com")
@example("ada@1.2")
@example("ada@test")
@example("ada@some.test")
@example("ada@-a.com")
@example("ada@a.com.")
@example(f"{'a' * 242}@example.com")
@example(f"{'a' * 243}@example.com")
@example(f"a@{'.'.join(['a' * 63] * 3)}.{'a' * 60}.b")
@example(f"{'a' * (254 - 5 - len(ALEFS))}@{ALEFS}.com")
@settings(max_examples=1000, deadline=None)
def test_every_address_is_answered_as_email_validator_answers_it(address: str) -> None:
    """The same parts, or the same refusal in the same words; also when the domain was asked about before."""
    expected = theirs(address)

    assert answer(address) == expected
    assert answer(address) == expected


@pytest.mark.parametrize("address", ["ada@Example.com", "o'brien+news@mail.example.co.uk", "Sales@b-c.example"])
def test_a_common_address_is_not_asked_about_twice(address: str) -> None:
    """A domain that was asked about is known from then on, whoever has the mailbox."""
    addresses.checked(address)
    before = addresses._plain_domain.cache_info()

    addresses.checked(f"another.{address}")
    after = addresses._plain_domain.cache_info()

    assert (after.hits, after.misses) == (before.hits + 1, before.misses)
