"""Which project a request is about."""

import pytest

from services.config.access import project_of
from services.config.errors import ProjectNotFound
from tests.unit.config.builders import a_principal


def test_a_named_project_of_the_token_is_used() -> None:
    """A project that the token names is the one, in whichever field it stands."""
    assert project_of(a_principal("a", "b"), {"projectId": "", "provider.projectId": "b"}) == ("b", [])
    assert project_of(a_principal("*"), {"projectId": "any"}) == ("any", [])


def test_the_only_project_may_be_left_out() -> None:
    """A token of one project needs no field."""
    assert project_of(a_principal("a"), {"projectId": ""}) == ("a", [])


@pytest.mark.parametrize("projects", [("a", "b"), ("*",), ()])
def test_otherwise_it_is_required(projects: tuple[str, ...]) -> None:
    """A token of several, of all or of no projects does not say which is meant."""
    _, violations = project_of(a_principal(*projects), {"projectId": "", "provider.projectId": ""})
    assert [violation.field for violation in violations] == ["projectId"]


def test_another_project_is_not_found() -> None:
    """A project the token does not name is not found, whether it is used by somebody or not."""
    with pytest.raises(ProjectNotFound):
        project_of(a_principal("a"), {"projectId": "b"})


@pytest.mark.parametrize("project", ["a b", "ä", "x" * 65, "a\n", "../a"])
def test_bad_syntax_is_a_violation(project: str) -> None:
    """A text that can not be a project is refused before anybody is asked."""
    _, violations = project_of(a_principal("*"), {"projectId": project})
    assert [violation.field for violation in violations] == ["projectId"]


def test_two_different_projects_are_a_violation() -> None:
    """The project may stand in two fields if it is the same."""
    assert project_of(a_principal("*"), {"projectId": "a", "provider.projectId": "a"})[1] == []
    _, violations = project_of(a_principal("*"), {"projectId": "a", "provider.projectId": "b"})
    assert [violation.field for violation in violations] == ["provider.projectId"]
