"""Every scenario, in the order in which they are measured: a new one is a file and a line here. Not quick.py, which is
what `--quick` measures in their place.
"""

from bench.scenario import Scenario
from bench.scenarios import (
    accept,
    backlog,
    batch,
    deferred,
    delivery_log,
    failover,
    kinds,
    latency,
    memory,
    paced,
    replicas,
    rest,
    slow,
    startup,
    statements,
    stored,
    stream,
    unary,
)

SCENARIOS: tuple[Scenario, ...] = (
    unary.SCENARIO,
    paced.SCENARIO,
    batch.SCENARIO,
    accept.SCENARIO,
    stream.SCENARIO,
    rest.SCENARIO,
    latency.SCENARIO,
    failover.THROUGHPUT,
    failover.TIME,
    deferred.SCENARIO,
    *slow.SCENARIOS,
    *kinds.SCENARIOS,
    backlog.SCENARIO,
    replicas.SCENARIO,
    statements.SCENARIO,
    stored.SCENARIO,
    delivery_log.SCENARIO,
    startup.SCENARIO,
    memory.IDLE,
    memory.QUEUES,
)
