"""The pages about providers: generated where the code knows, complete, and right where they are code themselves."""

import json
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from importlib import import_module
from typing import Any

import pytest

from scripts.generate_matrix import BLOCK, PAGES, filled, kind_blocks, matrix_blocks, pages, problems
from scripts.provider_tables import built_in, code_table, is_code_table, outcomes
from services.adapters.base import Capabilities
from services.adapters.outcome import Outcome, Reason, Verdict
from services.adapters.registry import Kind


def test_every_page_is_fresh() -> None:
    """There is a page for every kind and none for another, and every generated block says what the adapters say now."""
    assert list(problems(PAGES, pages(), write=False)) == []


def a_page(*blocks: str) -> str:
    """A page with these blocks, empty."""
    return "# Acme\n\n" + "".join(f"<!-- generated: {name} -->\nold\n<!-- /generated -->\n\n" for name in blocks)


def test_what_is_wrong_with_a_page_is_said(tmp_path) -> None:
    """Pages that are stale, missing, of no kind or without a block are named; only what is stale is put right."""
    wanted = {"acme": {"settings": "new\n"}, "gone": {}, "poor": {"settings": "x", "limits": "y"}}
    (tmp_path / "acme.md").write_text(a_page("settings"))
    (tmp_path / "left.md").write_text("# Left over\n")
    (tmp_path / "poor.md").write_text(a_page("settings"))

    found = list(problems(tmp_path, wanted, write=False))
    left = list(problems(tmp_path, wanted, write=True))

    assert [line.partition(":")[0] for line in found] == ["left.md", "gone.md", "acme.md", "poor.md"]
    assert "wanted are limits, settings" in found[-1]
    assert left == [found[0], found[1], found[3]]
    assert (tmp_path / "acme.md").read_text() == a_page("settings").replace("old", "\nnew\n")


def test_an_unknown_block_is_refused() -> None:
    """A block that nobody fills does not stand there empty."""
    with pytest.raises(ValueError, match="has the blocks prices"):
        filled(a_page("prices"), {})


def test_a_new_capability_shows() -> None:
    """What a kind can and what it can not come from its spec: changing that changes its page."""
    kind = next(each for each in built_in() if each.spec.kind == "twilio")
    able = replace(kind.spec.capabilities, lookup=True)

    before, after = kind_blocks([kind]), kind_blocks([replace(kind, spec=replace(kind.spec, capabilities=able))])

    assert "| can | receipts, validity |" in before["glance"]
    assert "| can | receipts, lookup, validity |" in after["glance"]


def test_every_feature_is_explained() -> None:
    """Each row of the matrix says what it means, and every capability is a row or named below as nobody's."""
    for name in ("email", "sms"):
        text = matrix_blocks()[name]
        rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")][2:]
        assert rows
        assert all(row[-1].strip(" |") for row in rows)
        words = {"cc, bcc" if each.name == "cc_bcc" else each.name.replace("_", " ") for each in fields(Capabilities)}
        lacking = text.partition("has: ")[2]
        assert words <= {row[0].removeprefix("| ") for row in rows} | {word for word in words if word in lacking}


def tables_of(kind: Kind) -> Iterator[Any]:
    """The tables of codes at the top of a kind's module."""
    module = import_module(f"services.adapters.{kind.spec.channel.lower()}.{kind.spec.kind}")
    return (value for name, value in vars(module).items() if name.isupper() and is_code_table(value))


VENDORS = [kind for kind in built_in() if kind.spec.kind != "sandbox"]


@pytest.mark.parametrize("kind", VENDORS, ids=lambda kind: kind.spec.kind)
def test_no_code_is_lost(kind: Kind) -> None:
    """Every code and every word of a kind's tables is in its page, with the reason beside it."""
    lines = outcomes(kind).replace("\\|", "|").splitlines()
    tables = list(tables_of(kind))
    assert tables
    for table in tables:
        for row in table.items() if isinstance(table, dict) else table:
            *cells, verdict = row
            words = [word for cell in cells for word in (cell if isinstance(cell, tuple) else (cell,))]
            told = [f"`{word}`" for word in words if word not in ("", 0, "*")]
            assert any(all(word in line for word in [*told, f"`{verdict.reason}`"]) for line in lines), row


def test_rows_are_joined_without_a_change_of_meaning() -> None:
    """Neighbours that differ in one column become one row; a row for anything, or with another verdict, stays alone."""
    sms = import_module("services.adapters.sms.termii")
    later, never = Verdict(Outcome.DEFERRED, Reason.UNAVAILABLE), Verdict(Outcome.INVALID, Reason.CONTENT_INVALID)
    rows = (sms.Rule(400, "a", later), sms.Rule(422, "a", later), sms.Rule(400, "b", never), sms.Rule(0, "b", never))

    assert code_table(rows).splitlines()[2:] == [
        "| `400` or `422` | `a` | deferred | `UNAVAILABLE` |",
        "| `400` | `b` | invalid | `CONTENT_INVALID` |",
        "| any | `b` | invalid | `CONTENT_INVALID` |",
    ]


# Operations that we call, and what IAM calls sending a raw message.
ACTIONS = {
    "ses": {"ses:SendEmail", "ses:SendRawEmail", "ses:SendBulkEmail", "ses:GetAccount", "ses:GetEmailIdentity"},
    "sns": {"sns:Publish", "sns:GetSMSAttributes", "sns:GetSMSSandboxAccountStatus"},
}


@pytest.mark.parametrize("kind", ACTIONS)
def test_the_policies_allow_what_we_call(kind: str) -> None:
    """The policy of an AWS kind's page is JSON, and allows what its adapter and its check call, and nothing else."""
    (policy,) = re.findall(r"^```json\n(.*?)^```", (PAGES / f"{kind}.md").read_text(), re.MULTILINE | re.DOTALL)
    allowed = [each["Action"] for each in json.loads(policy)["Statement"] if each["Effect"] == "Allow"]

    assert {action for each in allowed for action in ([each] if isinstance(each, str) else each)} == ACTIONS[kind]


def test_every_page_says_where_its_receipts_go() -> None:
    """The page of a kind with receipts names their address, and the page of another says that none come."""
    for kind in built_in():
        text = BLOCK.sub("", (PAGES / f"{kind.spec.kind}.md").read_text())
        address = f"https://<your gateway>/receipts/{kind.spec.kind}/<provider id>"
        assert (address in text) == kind.spec.capabilities.receipts, kind.spec.kind
