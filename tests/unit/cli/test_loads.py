"""What a process loads: whoever does not use a large library does not pay for it."""

import subprocess
import sys

import pytest

SERVICES = ("services.config.app", "services.dispatch.app", "gateway.app")
SCRIPT = (
    "import sys, cli.main, cli.serve, {service}; {more}; print(*(name for name in sys.modules if sys.modules[name]))"
)
AN_ENGINE = "from services.chassis.engine import create_engine; engine = create_engine('postgresql://somewhere/x')"


def loaded(service: str, more: str = "pass") -> set[str]:
    """The modules of a process that has imported this service and then done `more`."""
    command = [sys.executable, "-c", SCRIPT.format(service=service, more=more)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True).stdout.split()
    assert service in said
    return set(said)


@pytest.mark.parametrize("service", SERVICES[1:])
def test_only_config_loads_sqlalchemy(service: str) -> None:
    """14 MB that a dispatcher and a gateway do without."""
    assert not {"sqlalchemy", "alembic"} & loaded(service)


def test_config_loads_no_orm_and_nothing_to_migrate_or_send_with() -> None:
    """Its statements are SQLAlchemy's core; adapters' clients come with the first test of a provider."""
    found = loaded("services.config.app", AN_ENGINE)

    assert "sqlalchemy.ext.asyncio.engine" in found
    assert not {"sqlalchemy.orm", "alembic", "aiohttp", "aiosmtplib", "botocore", "phonenumbers"} & found


def test_whoever_wants_all_of_sqlalchemy_gets_it_after_an_engine_was_made() -> None:
    """A plug-in may have a database of its own: the package is whole for it, and has the same engines."""
    more = (
        f"{AN_ENGINE}; from sqlalchemy.ext.asyncio import AsyncSession, AsyncEngine; assert type(engine) is AsyncEngine"
    )

    assert "sqlalchemy.orm" in loaded("services.config.app", more)


@pytest.mark.parametrize("service", SERVICES)
def test_no_service_loads_what_draws_on_terminals(service: str) -> None:
    """A developer's environment has it, and libraries would load it where they find it."""
    assert not {"rich", "pygments"} & loaded(service)
