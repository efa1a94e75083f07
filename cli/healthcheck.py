"""`messagepipe healthcheck SERVICE`: whether one service serves, for containers. It looks at nothing else."""

from collections.abc import Mapping

from cli.checkup import CONFIG_SERVICE, DISPATCH_SERVICE, Finding, Level, check_service, check_url
from cli.settings import UpSettings, connect_host, join
from cli.terminal import Terminal
from services.chassis.env import load


async def healthcheck(service: str, environ: Mapping[str, str], *, terminal: Terminal) -> int:
    """Exit code 0 when the service serves where MESSAGEPIPE_HOST and its port say, 1 when not."""
    finding = await _look(service, load(UpSettings, environ))
    terminal.say(finding.detail)
    return 0 if finding.level is Level.OK else 1


async def _look(service: str, settings: UpSettings) -> Finding:
    target = join(connect_host(settings.host), settings.ports[service])
    if service == "gateway":
        # Alive, not ready: a gateway whose services are away must not be restarted for it.
        return await check_url(service, f"http://{target}/healthz")
    return await check_service(service, target, CONFIG_SERVICE if service == "config" else DISPATCH_SERVICE)
