"""What ConfigService is made of before anybody asks it anything."""

import subprocess
import sys


def test_nothing_that_opens_sockets_to_providers_is_loaded_at_the_start() -> None:
    """What TestProvider needs costs its memory only from the first test on."""
    heavy = ("aiohttp", "aiosmtplib", "botocore", "httpx_aiohttp")
    code = f"import sys, services.config.app; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
