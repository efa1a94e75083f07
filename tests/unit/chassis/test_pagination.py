"""Pages: sizes are clamped, tokens are ours or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import InvalidArgument
from services.chassis.pagination import parse_page


@pytest.mark.parametrize(("asked", "given_size"), [(0, 50), (1, 1), (100, 100), (101, 100), (2**31 - 1, 100)])
def test_sizes(asked, given_size):
    """0 is the default, and what is too big is clamped."""
    assert parse_page(asked, "", "ListProviders").size == given_size


def test_default_and_maximum_can_be_set():
    """A list may have a default and a maximum of its own."""
    assert parse_page(0, "", "m", default=7, maximum=9).size == 7
    assert parse_page(10, "", "m", default=7, maximum=9).size == 9


def test_everything_wrong_is_said_at_once():
    """A negative size and a strange token are two violations of one error, by their JSON names."""
    with pytest.raises(InvalidArgument) as caught:
        parse_page(-1, "rubbish", "m")
    assert [violation.field for violation in caught.value.violations] == ["pageSize", "pageToken"]


@given(st.lists(st.one_of(st.text(max_size=40), st.integers()), max_size=4), st.lists(st.text(), max_size=3))
def test_a_token_comes_back_as_its_cursor(cursor, parts):
    """Whatever the sort key and the filter, the next page continues where the last one ended."""
    page = parse_page(10, "", *parts)
    assert page.cursor is None
    assert parse_page(10, page.next_token(*cursor), *parts).cursor == tuple(cursor)


@given(st.lists(st.text(), max_size=3), st.lists(st.text(), max_size=3))
def test_a_token_of_another_filter_is_refused(one, other):
    """A token is good for its own filter alone, however the parts are cut."""
    token = parse_page(10, "", *one).next_token("x")
    if one == other:
        assert parse_page(10, token, *other).cursor == ("x",)
    else:
        with pytest.raises(InvalidArgument):
            parse_page(10, token, *other)


@given(st.text(min_size=1))
def test_garbage_is_refused(token):
    """A token we did not make is an error of the caller, never a crash."""
    with pytest.raises(InvalidArgument):
        parse_page(10, token, "m")


@pytest.mark.parametrize("keys", [[True], [None], [1.5], [["x"]], [{}]])
def test_only_texts_and_whole_numbers_are_cursors(keys):
    """A forged cursor with values of other types is refused before it reaches a query."""
    page = parse_page(10, "", "m")
    with pytest.raises(InvalidArgument):
        parse_page(10, page.next_token(*keys), "m")


def test_the_sort_keys_types_are_checked():
    """With key_types, a cursor of another shape is refused."""
    page = parse_page(10, "", "m")
    assert parse_page(10, page.next_token(5, "id"), "m", key_types=(int, str)).cursor == (5, "id")
    for wrong in (("5", "id"), (5,), (5, "id", "x")):
        with pytest.raises(InvalidArgument):
            parse_page(10, page.next_token(*wrong), "m", key_types=(int, str))


def test_a_long_token_is_refused():
    """A token over 1,024 characters is not read at all."""
    page = parse_page(10, "", "m")
    with pytest.raises(InvalidArgument):
        parse_page(10, page.next_token("x" * 1000), "m")
