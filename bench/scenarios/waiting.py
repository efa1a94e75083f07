"""Messages that stand in the database already: how they get there, and how the end of a backlog is seen."""

from collections.abc import Mapping, Sequence

from bench.rig import Rig


async def a_model(rig: Rig, project: str) -> str:
    """A message that the service itself accepted and sent; its id. Copies are made of the rows that it wrote, not of
    what somebody thinks that it writes.
    """
    async with rig.dispatch() as dispatch:
        await rig.offer(dispatch.target, project, way="batch", in_flight=1, size=1, most=1)
        await rig.postgres.drained(30)
        rows = await rig.postgres.fetch("SELECT id FROM dispatch.messages WHERE project_id = $1", project)
    return str(rows[0]["id"])


async def until_drained(rig: Rig, ports: Sequence[int], seconds: float = 1800) -> Mapping[str, float]:
    """Returns when the queue is empty; messages a second from the first to the last that a provider accepted."""
    await rig.postgres.drained(seconds)
    counts = [await rig.providers.ask("counts", port=port) for port in ports]
    accepted = sum(count["accepted"] for count in counts)
    span = max(count["last_at"] for count in counts) - min(count["first_at"] for count in counts)
    return {"rate": accepted / span if span else 0.0, "messages": accepted}
