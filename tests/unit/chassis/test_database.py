"""Addresses of databases, and which server settings are unsafe."""

import pytest

from services.chassis.database import parse_dsn, unsafe_settings
from services.chassis.env import SecretText


@pytest.mark.parametrize(
    ("dsn", "shown", "database"),
    [
        ("postgresql://ada:pw@db:5432/main", "db:5432/main", "main"),
        ("postgres://ada:pw@db/main", "db/main", "main"),
        ("postgresql://u:pw@a:1,b:2/main?target_session_attrs=read-write", "a:1,b:2/main", "main"),
        ("postgresql://postgres:@/postgres?host=/var/lib/pg", "/var/lib/pg/postgres", "postgres"),
        ("postgresql://[::1]:5432/main", "[::1]:5432/main", "main"),
        ("postgresql://db/?dbname=x", "db/x", "x"),
        ("postgresql://u:p%40ss@db/ma%20in", "db/ma in", "ma in"),
    ],
)
def test_addresses(dsn, shown, database):
    """Several hosts, sockets, IPv6 and query arguments are understood; the password is not in what may be shown."""
    for form in (dsn, SecretText(dsn)):
        address = parse_dsn(form)
        assert (address.shown, address.database, address.secret.reveal()) == (shown, database, dsn)
        assert "pw" not in repr(address)


@pytest.mark.parametrize(
    ("dsn", "words"),
    [
        ("", "must begin with postgresql://"),
        ("mysql://a:pw@b/c", "must begin with postgresql://"),
        ("sqlite:///x.db", "must begin with postgresql://"),
        ("postgresql:///main", "names no host"),
        ("postgresql://u:pw@db", "names no database"),
        ("postgresql://u:pw@db:port/main", "a port that is not a number"),
        ("postgresql://u:pw@a:1,b:x/main", "a port that is not a number"),
        ("postgresql://u:pw@[::1/main", "cannot be read"),
        ("postgresql://u:pw@db/main?sslmode", "cannot be read"),
    ],
)
def test_bad_addresses(dsn, words):
    """A wrong address is one line that says what is wrong and does not repeat the password."""
    with pytest.raises(ValueError, match=words) as caught:
        parse_dsn(dsn)
    assert "pw" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unsafe_settings():
    """fsync, full_page_writes or synchronous_commit off break durability; `local` does so when there are standbys."""
    good = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "synchronous_standby_names": ""}
    assert unsafe_settings(good) == []
    assert unsafe_settings(dict.fromkeys(good, "off")) == [
        "fsync=off",
        "full_page_writes=off",
        "synchronous_commit=off",
    ]
    assert unsafe_settings({**good, "synchronous_commit": "local"}) == []
    standby = {**good, "synchronous_commit": "local", "synchronous_standby_names": "ANY 1 (a)"}
    assert unsafe_settings(standby) == ["synchronous_commit=local"]
