"""The list of failpoints and the code hold each other."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.at_points import PAUSE_POINTS
from tests.chaos.points import POINTS

ROOT = Path(__file__).resolve().parent.parent.parent


def names_in(text: str) -> Iterator[str]:
    """Every name that a piece of code hands to `failpoint`; "" for one that is not written out."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "failpoint":
            (name,) = node.args
            yield name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else ""


def names_in_the_code() -> Counter[str]:
    """Every failpoint of the services, the gateway and the command."""
    files = [path for folder in ("services", "gateway", "cli") for path in (ROOT / folder).rglob("*.py")]
    return Counter(name for path in files for name in names_in(path.read_text(encoding="utf-8")))


def test_every_failpoint_is_killed_at_and_none_is_left_over() -> None:
    """The names in the code, each written out in one place, are exactly those of the chaos table."""
    code = names_in_the_code()

    assert set(code) == {point.name for point in POINTS}
    assert [name for name, count in code.items() if count > 1] == []
    assert len(POINTS) == len({point.name for point in POINTS}) >= 20
    assert set(PAUSE_POINTS) <= set(code)


def test_a_name_that_is_not_written_out_is_found() -> None:
    """A failpoint with a computed name would be an orphan that nobody sees."""
    assert list(names_in('failpoint("a.b")\nfailpoint(name)')) == ["a.b", ""]
