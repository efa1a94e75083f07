"""What a log line may not contain, and that one event is one line."""

import json
import logging

import pytest

from services.chassis import log
from services.chassis.env import SecretText
from tests.fakes.clock import FakeClock


@pytest.fixture(autouse=True)
def quiet_again():
    """Puts the standard library's root logger back as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level
    log.clear_contextvars()


@pytest.fixture
def lines(capsys):
    """Logs as JSON, read back line by line."""
    log.configure(service="config", json=True, level="info", clock=FakeClock())
    return lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_an_event_is_one_json_line(lines):
    """One event is one line with service, level, time and its facts."""
    log.get_logger().info("message_accepted", message_id="m1", attempts=2)
    assert lines() == [
        {
            "event": "message_accepted",
            "message_id": "m1",
            "attempts": 2,
            "service": "config",
            "level": "info",
            "time": "2026-01-01T00:00:00.000+00:00",
        }
    ]


def test_bound_ids_are_on_every_line(lines):
    """What is bound once is on every later line."""
    log.bind_contextvars(request_id="r1")
    log.get_logger().info("a")
    log.get_logger().warning("b")
    assert [(line["event"], line["level"], line["request_id"]) for line in lines()] == [
        ("a", "info", "r1"),
        ("b", "warning", "r1"),
    ]


@pytest.mark.parametrize(
    "key",
    "token authorization Password secret api_key api-key recipient to body subject jwt_secret auth_token".split(),
)
def test_values_under_telling_names_are_replaced(lines, key):
    """A value under a telling name is replaced, also inside other values."""
    log.get_logger().info("x", **{key: "hush", "inner": {"deep": [{key: "hush"}]}})
    (line,) = lines()
    assert line[key] == "***"
    assert "hush" not in json.dumps(line)


def test_a_secret_text_is_replaced_under_any_name(lines):
    """A SecretText prints as *** wherever it stands."""
    log.get_logger().info("x", fine=SecretText("hush"), many=[SecretText("hush")])
    (line,) = lines()
    assert (line["fine"], line["many"]) == ("***", ["***"])


@pytest.mark.parametrize(
    "text",
    [
        "cannot deliver to ada.lovelace+x@example.org today",
        "called +49 151 1234-5678",
        "called +4915112345678",
        "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln was refused",
        "Authorization: Bearer abcdefghijkl",
        "the key mzl_abcdefghijkl0123456789ABCDEFGHIJKLMNOPQR does not work",
        "postgresql://ada:lovelace@db/x",
        "duplicate key\nDETAIL:  Key (recipient)=(lovelace) exists",
    ],
)
def test_people_and_tokens_are_scrubbed_from_texts(lines, text):
    """Addresses, numbers, tokens, passwords in URLs and PostgreSQL's row details do not survive inside other texts."""
    log.get_logger().info(text, note=text, nested=[text], error=ValueError(text))
    dumped = json.dumps(lines())
    for telling in ("lovelace", "12345678", "1234-5678", "eyJ", "abcdefghijkl"):
        assert telling not in dumped


@pytest.mark.parametrize("text", ["2026-01-01T00:00:00+00:00", "018f2c1e-1111-7abc-8888-123456789012", "a+b = 12"])
def test_ordinary_texts_stay(text):
    """Times, ids and sums are not taken for people."""
    assert log.scrub(text) == text


def test_a_traceback_is_scrubbed(lines):
    """A logged exception keeps its type and frames and loses what its message says about people."""
    try:
        raise RuntimeError("no mailbox ada@example.org")
    except RuntimeError:
        log.get_logger().exception("crashed")
    (line,) = lines()
    assert line["level"] == "error"
    assert "RuntimeError: no mailbox <address>" in line["exception"]
    assert "test_log.py" in line["exception"]


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("evil", ["a\nb", "a\r\nb", "\x1b[2Jb", "a\u2028b", "a\u202eb", "a\x9bb"])
def test_no_caller_can_forge_a_line(capsys, as_json, evil):
    """Control, bidirectional and line-breaking characters arrive escaped, in the event and in its values."""
    log.configure(service="x", json=as_json)
    log.get_logger().info(evil, value=evil)
    written = capsys.readouterr().err
    assert len(written.splitlines()) == 1
    assert not set(evil) & set(written.rstrip("\n")) - set("ab[2J")


def test_a_traceback_on_a_terminal_cannot_forge_a_line(capsys):
    """Lines inside a traceback are marked, so none passes for a log line."""
    log.configure(service="x", json=False)
    try:
        raise RuntimeError("x\n2026-01-01 [info] all is well")
    except RuntimeError:
        log.get_logger().exception("crashed")
    assert "\n  | 2026-01-01 [info] all is well" in capsys.readouterr().err


def test_libraries_log_the_same_way(lines):
    """Warnings of libraries become our lines, scrubbed; their chatter below a warning is dropped."""
    logging.getLogger("some.library").warning("lost %s", "ada@example.org")
    logging.getLogger("some.library").info("request: password=x")
    (line,) = lines()
    assert (line["event"], line["logger"], line["service"]) == ("lost <address>", "some.library", "config")


def test_the_level_is_a_floor(capsys):
    """Below the level nothing is written; an unknown level is refused by name."""
    log.configure(service="x", json=True, level="WARNING")
    log.get_logger().info("quiet")
    assert capsys.readouterr().err == ""
    with pytest.raises(ValueError, match="'loud' is not a log level; use one of debug, info"):
        log.configure(service="x", level="loud")
