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


def said_of_forks(package: str) -> list[str]:
    """What gRPC's core says of forks in a process that imported `package` first."""
    environ = {**os.environ, "GRPC_VERBOSITY": "info"}
    environ.pop("GRPC_ENABLE_FORK_SUPPORT", None)
    script = SCRIPT.format(package=package)
    ran = subprocess.run(
        [sys.executable, "-c", script], env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    return [line for line in ran.stderr.splitlines() if "fork" in line]


def test_grpc_s_fork_handlers_are_off_in_the_command_and_in_tests() -> None:
    """They start threads again in the child, which die of it now and then, and the child with them."""
    assert said_of_forks("os") != []
    assert said_of_forks("cli") == []
    assert said_of_forks("tests") == []
