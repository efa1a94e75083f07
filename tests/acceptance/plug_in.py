"""Distributions with provider plug-ins, as tests install them: the one that a page of the documentation spells out,
and broken ones. No test.
"""

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from tests.acceptance.command import ROOT, environment
from tests.integration.rig import SECRET, VAULT_KEYS

PAGE = ROOT / "docs" / "adding-a-provider.md"
FENCE = re.compile(r"^```\w*\n", re.MULTILINE)


def files_of_page() -> dict[str, str]:
    """The files that the page spells out: each a block after a paragraph that begins with its name in backquotes."""
    parts = FENCE.split(PAGE.read_text(encoding="utf-8"))
    introduced = ((prose.strip().rpartition("\n\n")[2], block) for prose, block in pairwise(parts))
    named = ((re.match(r"`([\w./]+)`:", paragraph), block) for paragraph, block in introduced)
    return {match[1]: block for match, block in named if match}


def install(files: dict[str, str], scratch: Path) -> Path:
    """Write the distribution, build it and install it with pip; answers the folder it is installed in.

    Needs no network and no right to write into the environment that the tests run in.
    """
    source, target = scratch / "source", scratch / "plug-ins"
    for name, text in files.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--isolated", "--no-cache-dir", "--disable-pip-version-check", "install"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*pip, "--quiet", *offline, "--target", str(target), str(source)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def installed_by_hand(folder: Path, name: str, *, module: str, attribute: str = "KIND") -> Path:
    """What pip leaves behind of a distribution with one plug-in, whose module has this text."""
    import_name = name.replace("-", "_")
    info = folder / f"{import_name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[messagepipe.providers]\npigeon = {import_name}:{attribute}\n")
    (folder / f"{import_name}.py").write_text(module)
    return folder


def with_plug_ins(*folders: Path, **more: str) -> dict[str, str]:
    """The environment in which Python finds what is installed in these folders."""
    inherited = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join(filter(None, [*map(str, folders), inherited]))
    return environment(PYTHONPATH=path, **more)


def services_with(*folders: Path, database_url: str, **more: str) -> dict[str, str]:
    """The same for the services, on this database and with the secrets that the tests' tokens are made with."""
    return with_plug_ins(
        *folders,
        MESSAGEPIPE_DATABASE_URL=database_url,
        MESSAGEPIPE_JWT_SECRET=SECRET.reveal(),
        MESSAGEPIPE_VAULT_KEYS=VAULT_KEYS.reveal(),
        **more,
    )
