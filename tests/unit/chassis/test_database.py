"""Addresses of databases."""

import pytest

from services.chassis.database import parse_dsn
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


@pytest.mark.parametrize(
    ("dsn", "hosts"),
    [
        ("postgresql://u@db/m", [("db", None)]),
        ("postgresql://u@a:1,b:2,c/m", [("a", 1), ("b", 2), ("c", None)]),
        ("postgresql://u@[::1]:5433,[fe80::2]/m", [("::1", 5433), ("fe80::2", None)]),
        ("postgresql://u@/m?host=a,b&port=1,2", [("a", 1), ("b", 2)]),
        ("postgresql://u@a,b/m?port=7", [("a", 7), ("b", 7)]),
        ("postgresql://u@/m?host=/srv/50%25:pg", [("/srv/50%:pg", None)]),
        ("postgresql://u@%2Fsrv%2Fpg/m", [("/srv/pg", None)]),
        ("postgresql://u@shown/m?host=meant", [("meant", None)]),
    ],
)
def test_hosts(dsn, hosts):
    """Every host with its port, in the order given; a parameter wins, as with libpq."""
    assert list(parse_dsn(dsn).hosts) == hosts


@pytest.mark.parametrize(
    ("dsn", "words"),
    [
        ("postgresql://u@a,b,c/m?port=1,2", "one port, or as many as hosts"),
        ("postgresql://u@a/m?port=x", "a port that is not a number"),
    ],
)
def test_bad_ports(dsn, words):
    """Ports that do not fit the hosts are refused."""
    with pytest.raises(ValueError, match=words):
        parse_dsn(dsn)


def test_writable_unless_said_otherwise():
    """A server that takes writes is wanted, unless the address says what else would do."""
    assert parse_dsn("postgresql://u@a,b/m").writable
    assert not parse_dsn("postgresql://u@a,b/m?target_session_attrs=any").writable
