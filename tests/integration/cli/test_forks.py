"""Processes that speak gRPC and start others: what happens between fork and exec must not be gRPC's business."""

import os
import subprocess
import sys

SCRIPT = """
import asyncio, subprocess, sys, {package}, grpc

async def main():
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{{port}}") as channel:
        await channel.channel_ready()
        subprocess.run([sys.executable, "-c", ""], preexec_fn=lambda: None, check=True)
    await server.stop(None)

asyncio.run(main())
"""


def of_forks(package: str) -> list[str]:
    """What is to be seen of gRPC's handlers in a process that imported `package` first: what its core says of forks,
    and that the process, or its child, died.
    """
    environ = {**os.environ, "GRPC_VERBOSITY": "info"}
    environ.pop("GRPC_ENABLE_FORK_SUPPORT", None)
    script = SCRIPT.format(package=package)
    ran = subprocess.run(
        [sys.executable, "-c", script], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    died = [f"exit code {ran.returncode}"] if ran.returncode else []
    return [*died, *(line for line in ran.stderr.splitlines() if "fork" in line)]


def test_grpc_s_fork_handlers_are_off_in_the_command_and_in_tests() -> None:
    """They start threads again in the child, which dies of it now and then."""
    assert of_forks("os") != []
    assert of_forks("cli") == []
    assert of_forks("tests") == []
