"""The `messagepipe` command: the roof of the house, the only package that sees all others."""

import sys

from services.chassis.env import leave_forks_alone

# structlog and httpx load what draws on terminals where it happens to be installed, as in a developer's environment.
# Nothing here uses it, and it is 5 MB of every service.
for unused in ("rich", "httpx._main"):
    sys.modules.setdefault(unused, None)  # type: ignore[arg-type]  # how an import is told that there is no such module

leave_forks_alone()
