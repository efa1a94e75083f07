"""Which project a request is about, and whether the caller may know of it. It reads no token: the interceptor did."""

from collections.abc import Mapping

from services.chassis.auth import ALL, PROJECT_ID, Principal
from services.chassis.errors import FieldViolation
from services.config.errors import ProjectNotFound


def project_of(principal: Principal, said: Mapping[str, str]) -> tuple[str, list[FieldViolation]]:
    """The project that is meant, and what is wrong with how it was said; `said` is what each field holds.

    Without a word in any field it is the token's only project. Raises ProjectNotFound when the token does not name it.
    """
    given = {path: project for path, project in said.items() if project}
    if not given:
        return _only_project(principal, next(iter(said)))
    first, project = next(iter(given.items()))
    if not PROJECT_ID.match(project):
        return "", [FieldViolation(first, "must be 1 to 64 of the characters A-Z a-z 0-9 _ -")]
    if not principal.may_use(project):
        raise ProjectNotFound
    differing = [path for path, other in given.items() if other != project]
    return project, [FieldViolation(path, f"differs from {first}; say it once") for path in differing]


def _only_project(principal: Principal, path: str) -> tuple[str, list[FieldViolation]]:
    if principal.projects != ALL and len(principal.projects) == 1:
        return next(iter(principal.projects)), []
    return "", [FieldViolation(path, "is required, as the token does not name exactly one project")]
