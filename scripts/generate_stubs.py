"""Generate the Python stubs of the contract, or prove that the checked-in ones are what the protos say.

python scripts/generate_stubs.py           write protos/gen
python scripts/generate_stubs.py --check   exit 1 with the differing files named when protos/gen is stale
"""

import argparse
import filecmp
import shutil
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
GENERATED = PROTOS / "gen"


def generate(out: Path) -> None:
    """Write every stub below `out`; raises SystemExit with protoc's own words when a proto is wrong."""
    sources = sorted(str(path) for path in (PROTOS / "messagepipe").rglob("*.proto"))
    well_known = files("grpc_tools") / "_proto"
    arguments = ["protoc", f"-I{PROTOS}", f"-I{PROTOS / 'vendor'}", f"-I{well_known}"]
    arguments += [f"--{plugin}_out={out}" for plugin in ("python", "grpc_python")]
    arguments += [f"--{plugin}_out=quiet:{out}" for plugin in ("mypy", "mypy_grpc")]
    # Named outright, so that it works without an activated .venv as well.
    own = Path(sys.executable).parent
    arguments += [f"--plugin=protoc-gen-{name}={own / f'protoc-gen-{name}'}" for name in ("mypy", "mypy_grpc")]
    if protoc.main([*arguments, *sources]) != 0:
        raise SystemExit("protoc refused the protos (its words are above)")
    for folder in [out / "messagepipe", *(path for path in (out / "messagepipe").rglob("*") if path.is_dir())]:
        (folder / "__init__.py").write_text("")


def differences(fresh: Path, kept: Path) -> list[str]:
    """Name every file that is missing, left over or different, relative to the generated folder."""
    names = {path.relative_to(root) for root in (fresh, kept) for path in root.rglob("*.py*") if path.suffix != ".pyc"}
    return sorted(str(name) for name in names if not _same(fresh / name, kept / name))


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and filecmp.cmp(one, other, shallow=False)


def main() -> int:
    """Run as the docstring of the module says; answers the exit code."""
    parser = argparse.ArgumentParser(description="Generate the stubs in protos/gen.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when protos/gen is stale")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        generate(fresh)
        stale = differences(fresh, GENERATED)
        if arguments.check:
            for name in stale:
                print(f"stale: protos/gen/{name}  (run `make protos`)", file=sys.stderr)
            return 1 if stale else 0
        shutil.rmtree(GENERATED / "messagepipe", ignore_errors=True)
        shutil.copytree(fresh / "messagepipe", GENERATED / "messagepipe")
        print(f"{len(stale)} file(s) changed in protos/gen")
        return 0


if __name__ == "__main__":
    raise SystemExit(main())
