"""A provider plug-in that can not be used: nothing starts, and one clear line says whose it is and why."""

from pathlib import Path

import pytest

from tests.acceptance.command import one_line, run, running_up
from tests.acceptance.plug_in import installed_by_hand, services_with

pytestmark = pytest.mark.timeout(150)  # `up` starts a whole house before it gives up, on a busy machine too

# What is wrong, the module of the distribution, and what the services say of it.
BROKEN = {
    "does not import": ("import carrier", "could not be loaded: ModuleNotFoundError: No module named 'carrier'"),
    "quits": ("raise SystemExit(0)", "could not be loaded: SystemExit: 0"),
    "is no Kind": ("KIND = 'pigeon'", "is a str, not a services.adapters.registry.Kind"),
    "takes a taken word": (
        "from services.adapters import registry as r\nKIND = next(k for k in r.BUILT_IN if k.spec.kind == 'twilio')",
        "names the kind 'twilio', which SMS has already",
    ),
}


@pytest.mark.parametrize(("fault", "service"), [*((fault, "config") for fault in BROKEN), ("is no Kind", "dispatch")])
def test_a_broken_one_stops_the_start(fault: str, service: str, database_url: str, tmp_path: Path) -> None:
    """Neither service starts with a broken plug-in; one line says what is wrong with it and names its distribution."""
    module, words = BROKEN[fault]
    folder = installed_by_hand(tmp_path, "messagepipe-odd", module=module)

    refused = run(service, environ=services_with(folder, database_url=database_url))

    assert refused.returncode == 1
    assert one_line(refused.stderr).strip() == (
        f"messagepipe {service}: the provider plug-in 'pigeon' of messagepipe-odd 1.0 (messagepipe_odd:KIND) {words}"
    )


def test_up_names_a_broken_one(database_url: str, tmp_path: Path) -> None:
    """`messagepipe up` ends as well, and repeats that line."""
    folder = installed_by_hand(tmp_path, "messagepipe-odd", module="import carrier")

    with running_up(tmp_path / "data", environ=services_with(folder, database_url=database_url)) as up:
        code = up.exit_code()

    assert code == 1
    assert "of messagepipe-odd 1.0 (messagepipe_odd:KIND) could not be loaded" in up.output.splitlines()[-1]
