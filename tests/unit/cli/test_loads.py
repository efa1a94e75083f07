"""What a process loads: whoever does not use a large library does not pay for it."""

import subprocess
import sys

import pytest

SCRIPT = "import sys, cli.main, cli.serve, {service}; print(*sys.modules)"


@pytest.mark.parametrize("service", ["services.dispatch.app", "gateway.app"])
def test_only_config_loads_sqlalchemy(service: str) -> None:
    """20 MB that a dispatcher and a gateway do without."""
    command = [sys.executable, "-c", SCRIPT.format(service=service)]
    loaded = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True).stdout.split()

    assert service in loaded
    assert not {"sqlalchemy", "alembic"} & set(loaded)
