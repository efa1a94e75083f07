"""Where a dispatcher's time goes."""

from bench.rig import Rig


async def profile_dispatch(rig: Rig) -> str:
    """A table."""
    return str(rig)
