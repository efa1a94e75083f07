"""What is written about metrics is what the code counts: the table, the dashboard, the alerts."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.generate_metrics import METRICS, PAGE, with_table
from services.chassis.telemetry import MetricType

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "grafana"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "messagepipe.json").read_text(encoding="utf-8"))
RULES = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
WORD = re.compile(r"\b(?:messagepipe|rpc_server|http_server|process)_\w+")
LABELS = re.compile(r"\bby \(([^)]*)\)|(\w+)=~?\"")
# Of Prometheus' own and of its server: labels and series that are there without us.
ALWAYS = {"job", "instance", "le"}
PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"}


def panels() -> Iterator[dict[str, Any]]:
    """Every panel with a graph."""
    return (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


def queries() -> list[str]:
    """Everything that the dashboard and the alerts ask Prometheus."""
    return [target["expr"] for panel in panels() for target in panel["targets"]] + [rule["expr"] for rule in RULES]


def samples() -> dict[str, set[str]]:
    """The labels of every sample that is scraped, by its name."""
    named: dict[str, set[str]] = {name: set() for name in PROCESS}
    for metric in METRICS:
        endings = ("_bucket", "_sum", "_count") if metric.type is MetricType.HISTOGRAM else ("",)
        named |= {metric.name + ending: set(metric.labels) for ending in endings}
    return named


def test_the_table_of_metrics_is_the_code() -> None:
    """docs/monitoring.md holds the table that the code makes (`python -m scripts.generate_metrics`)."""
    text = PAGE.read_text(encoding="utf-8")
    assert text == with_table(text)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_metrics_are_named_by_the_rules(metric: Any) -> None:
    """A counter ends in `_total`, a histogram in its unit; no label speaks of a project or a person."""
    assert (metric.type is MetricType.COUNTER) == metric.name.endswith("_total")
    assert (metric.type is MetricType.HISTOGRAM) == bool(metric.buckets)
    assert list(metric.buckets) == sorted(metric.buckets)
    if metric.type is MetricType.HISTOGRAM:
        assert metric.name.endswith(("_seconds", "_rows"))
    assert metric.help.endswith(".")
    assert not {"project", "project_id", "message_id", "recipient", "sender", "name"} & set(metric.labels)


@pytest.mark.parametrize("query", queries())
def test_what_is_asked_exists(query: str) -> None:
    """Dashboard and alerts ask for metrics that are scraped, by labels that those have; their brackets match."""
    known = samples()
    asked = set(WORD.findall(query))
    labels = {label.strip() for group, one in LABELS.findall(query) for label in (group.split(",") if group else [one])}
    assert asked <= set(known)
    assert asked or "absent" in query
    assert labels <= ALWAYS.union(*(known[name] for name in asked))
    assert [query.count(each) for each in "([{"] == [query.count(each) for each in ")]}"]


def test_the_dashboard_shows_every_metric() -> None:
    """No metric is without a panel."""
    text = " ".join(queries())
    missing = [metric.name for metric in METRICS if not re.search(rf"\b{metric.name}(_bucket|_sum|_count)?\b", text)]
    assert missing == []


def test_the_dashboard_is_whole() -> None:
    """Ids are its own, panels do not overlap, every one has a title and its data source from the variable."""
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    cells = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert all(panel["title"] and panel["datasource"]["uid"] == "${datasource}" for panel in panels())
    assert {each["name"] for each in DASHBOARD["templating"]["list"]} == {"datasource", "job"}


def test_alerts_say_what_to_do() -> None:
    """Every alert has a name of its own, a sentence, and a first step."""
    assert len({rule["alert"] for rule in RULES}) == len(RULES) > 5
    assert all(rule["annotations"]["summary"] and rule["annotations"]["action"] for rule in RULES)
