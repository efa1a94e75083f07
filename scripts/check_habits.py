"""Hold the habits that ruff can not: files and functions of a readable size, and tests that state their fact.

A file above 400 lines says why in its first ten: `# size: <the reason>`. The same comment on the line of a `def`
excuses one function above 60.
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("services", "gateway", "cli", "scripts", "bench", "tests")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
EXCUSE = re.compile(r"#\s*size:\s*\S")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def problems(root: Path) -> Iterator[str]:
    """Everything below `root` that is too long without a reason, and every silent test, one line each."""
    for path in sorted(path for folder in FOLDERS for path in (root / folder).rglob("*.py")):
        yield from problems_of(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))


def problems_of(name: str, text: str) -> Iterator[str]:
    """The same for one file."""
    lines = text.splitlines()
    if len(lines) > MAX_FILE_LINES and not any(map(EXCUSE.search, lines[:10])):
        yield f"{name}: {len(lines)} lines, more than {MAX_FILE_LINES}; split it or say why: # size: <reason>"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, Function):
            yield from (
                f"{name}:{node.lineno}: {node.name} {what}" for what in _problems_of_function(name, node, lines)
            )


def _problems_of_function(name: str, node: Function, lines: list[str]) -> Iterator[str]:
    length = (node.end_lineno or node.lineno) - node.lineno + 1
    if length > MAX_FUNCTION_LINES and not EXCUSE.search(lines[node.lineno - 1]):
        yield f"has {length} lines, more than {MAX_FUNCTION_LINES}; split it or say why: # size: <reason>"
    if name.startswith("tests/") and node.name.startswith("test_") and not ast.get_docstring(node):
        yield "does not state its fact; begin it with one sentence as its docstring"


def main() -> int:
    """Print every problem; exit code 1 when there is one."""
    argparse.ArgumentParser(description="Fail on what is too long and on tests that state nothing.").parse_args()
    found = list(problems(ROOT))
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
