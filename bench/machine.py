"""The machine that was measured, in words."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import psutil

PACKAGES = ("grpcio", "protobuf", "aiohttp", "httpx", "asyncpg", "uvloop")


def machine(database: Mapping[str, str]) -> Mapping[str, str]:
    """Cores, processor, kernel, Python, packages, and the settings of PostgreSQL."""
    memory = f"{psutil.virtual_memory().total / 1e9:.0f} GB"
    return {
        "cores": f"{os.cpu_count()} of {_processor()}, {memory}",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": " · ".join(f"{name} {version(name)}" for name in PACKAGES),
        "postgres": " · ".join(f"{name}={value}" for name, value in database.items()),
    }


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    return next(names, platform.machine())
