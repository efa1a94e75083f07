"""The ratios of a run as a picture: `python -m bench.chart bench.json docs/performance.svg`. Pure but for `main`."""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

LABEL, WIDTH, LINE, HEAD = 330, 460, 20, 30
GREY, GOOD, SHORT, PLAIN = "#808080", "#2f9e6e", "#c9772b", "#4c7fb8"


def chart(told: Mapping[str, Any]) -> str:
    """An SVG of one bar for each ratio, its noise as a line over its end, and its goal as a mark across."""
    rows: Sequence[Mapping[str, Any]] = told["rows"]
    most = max([1.0, *(max(row["ratio"]["high"], row["at_least"] or 0.0) for row in rows)])
    height = HEAD + LINE * len(rows) + 10
    size = f'width="{LABEL + WIDTH + 70}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12" fill="{GREY}">',
        f'<text x="{LABEL}" y="16">beside the limit, which is 1 (a mark is the goal)</text>',
        _across(1.0, most, HEAD - 6, height - 6, "1,3"),
    ]
    for place, row in enumerate(rows):
        lines += _bar(row, HEAD + LINE * place, most)
    return "\n".join([*lines, "</svg>", ""])


def _bar(row: Mapping[str, Any], top: int, most: float) -> Iterator[str]:
    ratio, goal, middle = row["ratio"], row["at_least"], top + LINE / 2 - 1
    colour = PLAIN if goal is None else GOOD if ratio["median"] >= goal else SHORT
    yield f'<text x="{LABEL - 8}" y="{top + 13}" text-anchor="end">{escape(row["what"])}</text>'
    yield f'<rect x="{LABEL}" y="{top + 3}" width="{_long(ratio["median"], most):.0f}" height="12" fill="{colour}"/>'
    yield (
        f'<path d="M{LABEL + _long(ratio["low"], most):.0f} {middle:.0f}H{LABEL + _long(ratio["high"], most):.0f}" '
        f'stroke="{GREY}"/>'
    )
    if goal is not None:
        yield _across(goal, most, top + 1, top + LINE - 3)
    yield f'<text x="{LABEL + _long(ratio["high"], most) + 8:.0f}" y="{top + 13}">{ratio["median"]:.2f}</text>'


def _across(ratio: float, most: float, top: int, bottom: int, dashes: str = "") -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ' stroke-width="2"'
    return f'<path d="M{LABEL + _long(ratio, most):.0f} {top}V{bottom}" stroke="{GREY}"{dashed}/>'


def _long(ratio: float, most: float) -> float:
    return WIDTH * ratio / most


def main() -> None:
    """Draw what a run has told."""
    parser = argparse.ArgumentParser(prog="python -m bench.chart", description="The ratios of a run as an SVG.")
    parser.add_argument("told", type=Path, metavar="bench.json", help="what `python -m bench --json` wrote")
    parser.add_argument("picture", type=Path, metavar="FILE.svg")
    wanted = parser.parse_args()
    told = json.loads(wanted.told.read_text(encoding="utf-8"))
    wanted.picture.write_text(chart(told), encoding="utf-8")


if __name__ == "__main__":
    main()
