"""Fill the pages about providers with what the adapters say of themselves: docs/providers.

python -m scripts.generate_matrix           write the generated blocks of every page
python -m scripts.generate_matrix --check   exit 1 with the pages named that are stale, missing or left over

A block stands between `<!-- generated: <name> -->` and `<!-- /generated -->`; everything else is written by hand.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from scripts.provider_tables import (
    ROOT,
    built_in,
    code_table,
    features,
    glance,
    limits,
    options,
    outcomes,
    settings,
    settings_at_a_glance,
    table,
)
from services.adapters import aws, http
from services.adapters.base import Channel
from services.adapters.outcome import Verdict
from services.adapters.registry import Kind
from services.adapters.sms.sandbox import NUMBERS

PAGES = ROOT / "docs" / "providers"
MATRIX = "README"
BLOCK = re.compile(r"(<!-- generated: ([a-z ]+) -->\n)(.*?)(<!-- /generated -->)", re.DOTALL)

Blocks = Mapping[str, str]


def pages() -> dict[str, Blocks]:
    """The blocks of every page there has to be, by the page's name: the matrix, and one page per word of a kind."""
    by_word: dict[str, list[Kind]] = {}
    for kind in built_in():
        by_word.setdefault(kind.spec.kind, []).append(kind)
    return {MATRIX: matrix_blocks(), **{word: kind_blocks(kinds) for word, kinds in by_word.items()}}


def matrix_blocks() -> Blocks:
    """What stands in the matrix, and what all kinds share."""
    return {
        "email": features(Channel.EMAIL),
        "sms": features(Channel.SMS),
        "settings": settings_at_a_glance(),
        "statuses": code_table(_statuses(), "HTTP status"),
        "transport": code_table({error.__name__: verdict for error, verdict in http.EXCEPTIONS.items()}, "failure"),
        "aws": code_table(aws.SHARED_TEXTS) + "\n" + code_table(aws.SHARED_CODES),
    }


def _statuses() -> dict[str, Verdict]:
    """What decides where a kind's own table says nothing: each status that is named, then the rest by its class."""
    rest = {f"other {hundred}xx": http.by_status(100 * hundred + 99) for hundred in (2, 3, 4, 5)}
    return {str(status): verdict for status, verdict in http.STATUSES.items()} | rest


def kind_blocks(kinds: Sequence[Kind]) -> Blocks:
    """What stands in the page of one word; kinds of the same word on two channels share their settings."""
    first = kinds[0]
    blocks = {
        "glance": glance(kinds),
        "limits": limits(first),
        "settings": settings(first),
        "options": options(first),
        "outcomes": outcomes(first),
        "numbers": _numbers() if first.spec.kind == "sandbox" else "",
    }
    return {name: text for name, text in blocks.items() if text}


def _numbers() -> str:
    """What the numbers of the SMS sandbox stand for."""
    return table(
        ["number", "plays"],
        [
            [f"`{number}`", f"`{meant}`" if isinstance(meant, str) else f"{meant.outcome.lower()}, `{meant.reason}`"]
            for number, meant in NUMBERS.items()
        ],
    )


def filled(text: str, blocks: Blocks) -> str:
    """The page with every block as it should be. Raises ValueError naming blocks that it lacks or nobody knows."""
    found = [match[2] for match in BLOCK.finditer(text)]
    if sorted(found) != sorted(blocks):
        raise ValueError(f"has the blocks {', '.join(sorted(found))}; wanted are {', '.join(sorted(blocks))}")
    return BLOCK.sub(lambda match: f"{match[1]}\n{blocks[match[2]]}\n{match[4]}", text)


def problems(folder: Path, wanted: Mapping[str, Blocks], *, write: bool) -> Iterator[str]:
    """Everything that is wrong with the pages in this folder, one line each; `write` puts right what is stale."""
    there = {path.stem for path in folder.glob("*.md")}
    yield from (f"{name}.md: there is no such kind; remove the page" for name in sorted(there - wanted.keys()))
    yield from (f"{name}.md: is missing; write the page" for name in sorted(wanted.keys() - there))
    for name in sorted(there & wanted.keys()):
        page = folder / f"{name}.md"
        text = page.read_text(encoding="utf-8")
        try:
            fresh = filled(text, wanted[name])
        except ValueError as error:
            yield f"{name}.md: {error}"
            continue
        if fresh != text and write:
            page.write_text(fresh, encoding="utf-8")
        elif fresh != text:
            yield f"{name}.md: is stale (run `make matrix`)"


def main() -> int:
    """Run as the docstring of the module says; answers the exit code."""
    parser = argparse.ArgumentParser(description="Fill docs/providers with what the adapters say of themselves.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is stale")
    found = list(problems(PAGES, pages(), write=not parser.parse_args().check))
    for line in found:
        print(f"docs/providers/{line}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
