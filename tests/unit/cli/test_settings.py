"""What `up` hands down to each process."""

import pytest

from cli.plan import SERVICE_SETTINGS, load_settings
from cli.problem import Problem
from cli.settings import LOOPBACK, Plan, UpSettings, check_ports, connect_host, is_loopback, join, with_flags
from services.chassis.env import SecretText, SettingsError, load, variable_names


def a_plan(**settings: object) -> Plan:
    """A plan with every secret in it."""
    return Plan(
        settings=UpSettings(**settings),  # type: ignore[arg-type]
        database_url=SecretText("postgresql://app:db-secret@db/messagepipe"),
        jwt_secret=SecretText("jwt-secret-that-is-long-enough-for-hs256"),
        vault_keys=SecretText("k1:" + "A" * 43 + "="),
        base={"PATH": "/bin", "MESSAGEPIPE_LOG_LEVEL": "debug", "MESSAGEPIPE_TOKEN": "somebody's"},
        reads={name: frozenset(variable_names(cls)) for name, cls in SERVICE_SETTINGS.items()},
    )


@pytest.mark.parametrize("process", ["config", "dispatch", "gateway"])
def test_each_process_gets_what_it_needs(process: str) -> None:
    """The settings of every service can be loaded from what `up` hands it."""
    load(SERVICE_SETTINGS[process], a_plan().environ_of(process))


@pytest.mark.parametrize(
    ("process", "never"),
    [
        ("config", ()),
        ("dispatch", ("AAAA",)),
        ("gateway", ("AAAA", "db-secret")),
    ],
)
def test_no_process_gets_the_secret_of_another(process: str, never: tuple[str, ...]) -> None:
    """The vault's key is for config alone, the database for those that store; nobody gets the caller's own token."""
    handed = " ".join(a_plan().environ_of(process).values())

    assert "somebody's" not in handed
    assert not [secret for secret in never if secret in handed]
    assert "PATH" in a_plan().environ_of(process)


def test_loopback_allows_loopback() -> None:
    """On loopback providers on this machine may be reached; on any other host nobody private unless said."""
    for process in ("config", "dispatch"):
        assert a_plan().environ_of(process)["MESSAGEPIPE_EGRESS_ALLOW"] == LOOPBACK
        assert "MESSAGEPIPE_EGRESS_ALLOW" not in a_plan(host="10.0.0.1").environ_of(process)


def test_processes_reach_each_other_where_they_listen() -> None:
    """A wildcard address is listened on and never dialled; IPv6 stands in brackets."""
    assert a_plan(host="0.0.0.0").target("config") == "127.0.0.1:50051"
    assert a_plan(host="::").target("gateway") == "[::1]:8080"
    assert (connect_host("10.0.0.1"), join("::1", 1)) == ("10.0.0.1", "[::1]:1")


@pytest.mark.parametrize(
    ("host", "answer"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("db", False)],
)
def test_loopback_is_told_from_the_rest(host: str, answer: bool) -> None:
    """Only addresses that no other machine can reach count."""
    assert is_loopback(host) is answer


def test_a_flag_wins_over_its_variable() -> None:
    """What was typed counts; what was not typed changes nothing."""
    environ = with_flags({"MESSAGEPIPE_HTTP_PORT": "1", "MESSAGEPIPE_HOST": "::1"}, {"http_port": 2, "host": None})

    assert (load_settings(environ).http_port, load_settings(environ).host) == (2, "::1")


def test_two_processes_can_not_share_a_port() -> None:
    """The same port twice is a mistake; 0 twice is not."""
    check_ports({"gateway": 0, "config": 0, "dispatch": 1})
    with pytest.raises(Problem, match="gateway and dispatch can not share port 1"):
        check_ports({"gateway": 1, "config": 2, "dispatch": 1})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HTP_PORT", "1", "did you mean MESSAGEPIPE_HTTP_PORT"),
        ("HTTP_PORT", "70000", "must be 0 to 65535"),
        ("HTTP_PORT", "eighty", "a whole number is needed"),
    ],
)
def test_bad_settings_are_one_line_each(name: str, value: str, said: str) -> None:
    """A bad name, a bad range and a bad type are refused with what to do."""
    with pytest.raises(SettingsError, match=said):
        load_settings({f"MESSAGEPIPE_{name}": value})


def test_a_bad_database_url_is_not_repeated() -> None:
    """It may hold a password."""
    with pytest.raises(Problem) as caught:
        load_settings({"MESSAGEPIPE_DATABASE_URL": "mysql://app:hunter2@db/x"})
    assert "hunter2" not in str(caught.value)
