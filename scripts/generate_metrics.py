"""Write the table of metrics in docs/monitoring.md from the code: `python -m scripts.generate_metrics`."""

from pathlib import Path

from services.chassis.telemetry import Metric
from services.chassis.telemetry_common import COMMON
from services.dispatch.gauges import SHOWN
from services.dispatch.telemetry import LIFE

PAGE = Path(__file__).resolve().parent.parent / "docs" / "monitoring.md"
BEGIN, END = "<!-- metrics -->", "<!-- /metrics -->"

METRICS: tuple[Metric, ...] = (*LIFE, *SHOWN, *COMMON)
"""Every metric of ours; beside them are Prometheus' own process_*."""


def table() -> str:
    """The table as it stands in the document."""
    rows = [
        f"| `{metric.name}` | {metric.type} | {' '.join(f'`{label}`' for label in metric.labels)} | {metric.help} |"
        for metric in METRICS
    ]
    return "\n".join(["| metric | is a | labels | |", "| --- | --- | --- | --- |", *rows])


def with_table(text: str) -> str:
    """The document with the table as it should be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
