"""Settings are read completely or refused completely, and secrets stay in."""

import copy
import logging
import pickle
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.chassis.env import SecretText, SettingsError, check_names, load, process_environ


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    """A part that several processes share."""

    inner_size: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One field of every type."""

    database_url: str
    http_port: int = 8080
    ratio: float = 0.5
    verbose: bool = False
    data_dir: Path | None = None
    jwt_secret: SecretText | None = None
    egress_allow: tuple[str, ...] = ()
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        if self.http_port == 1:
            raise ValueError("MESSAGEPIPE_HTTP_PORT must not be 1")


def test_every_type_is_read():
    """Each supported type is read from its own variable, nested classes from the same flat names."""
    settings = load(
        Settings,
        {
            "MESSAGEPIPE_DATABASE_URL": "postgresql://h/d",
            "MESSAGEPIPE_HTTP_PORT": " 81 ",
            "MESSAGEPIPE_RATIO": "1e-3",
            "MESSAGEPIPE_VERBOSE": "Yes",
            "MESSAGEPIPE_DATA_DIR": "/data",
            "MESSAGEPIPE_JWT_SECRET": "hush",
            "MESSAGEPIPE_EGRESS_ALLOW": "10.0.0.0/8, ::1/128,",
            "MESSAGEPIPE_INNER_SIZE": "9",
        },
    )
    assert settings == Settings(
        database_url="postgresql://h/d",
        http_port=81,
        ratio=0.001,
        verbose=True,
        data_dir=Path("/data"),
        jwt_secret=SecretText("hush"),
        egress_allow=("10.0.0.0/8", "::1/128"),
        inner=Inner(inner_size=9),
    )


def test_defaults_and_empty_values():
    """A variable that is missing or empty leaves the default."""
    settings = load(Settings, {"MESSAGEPIPE_DATABASE_URL": "x", "MESSAGEPIPE_HTTP_PORT": ""})
    assert settings == Settings(database_url="x")


def test_all_problems_at_once():
    """One error names every bad and every missing variable, one line each, and repeats no secret."""
    with pytest.raises(SettingsError) as caught:
        load(
            Settings,
            {
                "MESSAGEPIPE_HTTP_PORT": "eighty",
                "MESSAGEPIPE_RATIO": "nan",
                "MESSAGEPIPE_VERBOSE": "perhaps",
                "MESSAGEPIPE_INNER_SIZE": "1.5",
            },
        )
    assert caught.value.problems == (
        "MESSAGEPIPE_DATABASE_URL is required and not set",
        "MESSAGEPIPE_HTTP_PORT='eighty' is wrong: a whole number is needed, such as 8080",
        "MESSAGEPIPE_RATIO='nan' is wrong: a number is needed, such as 2.5",
        "MESSAGEPIPE_VERBOSE='perhaps' is wrong: write true or false",
        "MESSAGEPIPE_INNER_SIZE='1.5' is wrong: a whole number is needed, such as 8080",
    )
    assert str(caught.value).splitlines() == list(caught.value.problems)


def test_a_class_checks_itself():
    """A ValueError of the class's own check becomes one problem line."""
    with pytest.raises(SettingsError, match=r"^MESSAGEPIPE_HTTP_PORT must not be 1$"):
        load(Settings, {"MESSAGEPIPE_DATABASE_URL": "x", "MESSAGEPIPE_HTTP_PORT": "1"})


def test_unknown_names_are_refused_with_a_hint():
    """A misspelt variable stops the start and the likely name is given; foreign variables are left alone."""
    with pytest.raises(SettingsError) as caught:
        check_names({"MESSAGEPIPE_HTTP_PROT": "1", "MESSAGEPIPE_ZZZZZZZZ": "1", "HOME": "/"}, [Settings])
    assert caught.value.problems == (
        "MESSAGEPIPE_HTTP_PROT is not a setting of messagepipe; did you mean MESSAGEPIPE_HTTP_PORT?",
        "MESSAGEPIPE_ZZZZZZZZ is not a setting of messagepipe; remove it, nothing reads it",
    )


def test_known_names_pass():
    """The names of every process's classes are known, those of nested classes too."""
    check_names({"MESSAGEPIPE_INNER_SIZE": "1", "MESSAGEPIPE_RATIO": "x"}, [Inner, Settings])


def test_process_environ_is_a_snapshot(monkeypatch):
    """What is read once does not change under the reader."""
    monkeypatch.setenv("MESSAGEPIPE_SNAPSHOT", "1")
    environ = process_environ()
    monkeypatch.delenv("MESSAGEPIPE_SNAPSHOT")
    assert environ["MESSAGEPIPE_SNAPSHOT"] == "1"


@pytest.mark.parametrize("show", [repr, str, "{}".format, "%s".__mod__, lambda s: f"{s!r}"])
def test_a_secret_never_prints(show):
    """No way of formatting a SecretText, or a dataclass that holds one, shows it."""
    assert "hush" not in show(SecretText("hush"))
    assert "hush" not in f"{SecretText('hush'):>10}"
    assert "hush" not in show(Settings(database_url="x", jwt_secret=SecretText("hush")))


def test_a_secret_is_a_value():
    """Secrets compare and hash by their text, and only with each other; only reveal() gives it out."""
    assert SecretText("a") == SecretText("a")
    assert SecretText("a") != SecretText("b")
    assert SecretText("a") != "a"
    assert len({SecretText("a"), SecretText("a")}) == 1
    assert SecretText("a").reveal() == "a"
    assert not SecretText("")


def test_a_secret_cannot_be_pickled():
    """Pickling a secret fails, also inside a log record's arguments; copying keeps it a secret."""
    with pytest.raises(TypeError):
        pickle.dumps(SecretText("hush"))
    record = logging.LogRecord("a", logging.INFO, "", 0, "%s", (SecretText("hush"),), None)
    with pytest.raises(TypeError):
        pickle.dumps(record)
    assert copy.deepcopy(SecretText("hush")) == SecretText("hush")
