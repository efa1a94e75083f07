"""`messagepipe gateway` as a process of its own."""

import asyncio
import signal
import sys

import httpx

from tests.integration.gateway.conftest import a_free_port

SCRIPT = """
import asyncio, sys
from gateway.app import main
from services.chassis.env import process_environ
sys.exit(asyncio.run(main(process_environ())))
"""


async def test_it_serves_until_it_is_told_to_stop():
    """Alive without its services, and SIGTERM ends it with code 0 and no traceback."""
    port = a_free_port()
    environ = {"MESSAGEPIPE_JWT_SECRET": "x" * 40, "MESSAGEPIPE_HTTP_PORT": str(port), "PATH": ""}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SCRIPT, env=environ, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(30), httpx.AsyncClient(trust_env=False) as client:
            assert process.stderr is not None
            assert b"gateway_ready" in await process.stderr.readline()
            assert (await client.get(f"http://127.0.0.1:{port}/healthz")).json() == {"status": "alive"}
            assert (await client.get(f"http://127.0.0.1:{port}/readyz")).status_code == 503
            process.send_signal(signal.SIGTERM)
            _, rest = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()

    assert process.returncode == 0
    assert b"Traceback" not in rest
