"""The documents beside the code say what the code says."""

import re
import tomllib
from itertools import chain
from pathlib import Path

import yaml

from cli.plan import ALL_SETTINGS
from cli.settings import ClientSettings
from scripts.check_habits import problems_of
from services.chassis.env import PREFIX, variable_names
from services.dispatch.message import State

ROOT = Path(__file__).resolve().parent.parent.parent
SERVICES = ("config", "dispatch", "gateway")


def read(name: str) -> str:
    """A file of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def test_every_dependency_is_judged() -> None:
    """Each dependency of pyproject.toml has its line in docs/dependencies.md, and no line is left over."""
    project = tomllib.loads(read("pyproject.toml"))["project"]
    declared = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    names = {re.match(r"[A-Za-z0-9-]+", each)[0] for each in declared}  # type: ignore[index]
    judged = set(re.findall(r"^\| ([a-z][a-z0-9-]+) \|", read("docs/dependencies.md"), re.MULTILINE)) - {"package"}

    assert judged == {name for name in names if not name.startswith(("types-", "messagepipe"))}


def test_every_state_is_in_the_picture() -> None:
    """The state picture names every state there is, and no other."""
    picture = read("docs/life-of-a-message.md").split("```")[1]
    drawn = set(re.findall(r"\b([A-Z]{4,})\b(?= -->)|--> ([A-Z]{4,})\b", picture))

    assert {word for pair in drawn for word in pair if word} == set(State)


def test_every_link_between_documents_leads_somewhere() -> None:
    """Relative links in the documents name files that exist."""
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_settings_of_the_readme_exist() -> None:
    """No variable in the README's table is one that nothing reads."""
    table = read("README.md").split("## Settings")[1].split("## ")[0]
    written = {PREFIX + name for row in table.splitlines() for name in re.findall(r"`([A-Z_]+)`", row.split(" | ")[0])}
    known = {name for cls in ALL_SETTINGS if cls is not ClientSettings for name in variable_names(cls)}

    assert len(written) > 10
    assert written <= known


def test_compose_hands_down_only_what_is_read() -> None:
    """Every MESSAGEPIPE_* variable in docker-compose.yml is one that some process reads."""
    known = {name for cls in ALL_SETTINGS for name in variable_names(cls)}
    for service in yaml.safe_load(read("docker-compose.yml"))["services"].values():
        ours = {name for name in service["environment"] if name.startswith(PREFIX)}
        assert ours <= known


def test_compose_runs_nothing_as_root_and_watches_what_serves() -> None:
    """Every container has a user of its own, no privileges, a read-only root; every service a health check."""
    services = yaml.safe_load(read("docker-compose.yml"))["services"]

    assert set(services) == {"postgres", "migrate", *SERVICES}
    for service in services.values():
        assert int(service["user"].split(":")[0]) > 0
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
    assert all("test" in services[name]["healthcheck"] for name in ("postgres", *SERVICES))


def test_compose_needs_no_env_file_to_be_read() -> None:
    """Every variable has a default, an empty one for secrets: those the services refuse by themselves."""
    variables = re.findall(r"\$\{(\w+)([^}]*)\}", read("docker-compose.yml"))

    assert variables
    assert not [name for name, default in variables if not default.startswith(":-")]
    secrets = {name: default for name, default in variables if re.search("SECRET|PASSWORD|VAULT", name)}
    assert set(secrets.values()) == {":-"}


def test_a_long_file_a_long_function_and_a_silent_test_are_found() -> None:
    """The habits that make check holds can be broken, excused with a reason, and are then seen or not."""
    long_function = "def f():\n" + "    pass\n" * 60
    silent = "def test_x():\n    pass\n"

    assert len(list(problems_of("a.py", "x = 1\n" * 401))) == 1
    assert list(problems_of("a.py", "# size: a table\n" + "x = 1\n" * 401)) == []
    assert len(list(problems_of("a.py", long_function))) == 1
    assert list(problems_of("a.py", long_function.replace("f():", "f():  # size: a table"))) == []
    assert len(list(problems_of("tests/a.py", silent))) == 1
    assert list(problems_of("services/a.py", silent)) == []
