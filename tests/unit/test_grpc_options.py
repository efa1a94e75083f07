"""The channel options that we give to gRPC, by name, against the library that reads them."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPTION = re.compile(r'\("(grpc\.[a-z0-9_.]+)",')
SOURCES = [path for part in ("services", "gateway", "cli", "bench") for path in sorted((ROOT / part).rglob("*.py"))]
CORE = find_spec("grpc._cython.cygrpc")
GIVEN = sorted({name for path in SOURCES for name in OPTION.findall(path.read_text("utf-8"))})


@pytest.mark.parametrize("name", GIVEN)
def test_grpc_knows_every_option_that_we_give_it(name: str) -> None:
    """An option that gRPC does not know is ignored without a word: a wrong ping interval cut idle connections each
    minute.
    """
    assert CORE is not None
    assert f"{name}\0".encode() in Path(str(CORE.origin)).read_bytes()


def test_there_are_options_to_look_at() -> None:
    """The search finds the keepalive options of servers and clients."""
    assert "grpc.keepalive_time_ms" in GIVEN
