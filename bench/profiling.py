"""Where a dispatcher's time goes under load: py-spy's samples of it, sorted into the stages of a message."""

import asyncio
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.rig import Rig, Run
from bench.scenarios.stage import staged

RATE = 500  # samples a second
SHOWN = 25

# A sample belongs to the innermost of its frames that says anything here; httpx and asyncio, which many stages use, say
# nothing. Frames are as py-spy writes them: `function (file:line)`.
STAGES: Mapping[str, tuple[str, ...]] = {
    "log": ("structlog/", "logging/", "chassis/log.py"),
    "protobuf": ("protobuf/", "dispatch/convert.py", "dispatch/history.py"),
    "validation": ("chassis/validation.py", "dispatch/content.py", "email_validator/", "idna/", "phonenumbers/"),
    # Its polling thread is a frame of its own; what it does in C on the event loop's thread is among the rest.
    "grpc": (
        "grpc/",
        "Thread.run (threading.py",
        "chassis/interceptors.py",
        "chassis/auth.py",
        "chassis/admission.py",
        "dispatch/servicer.py",
    ),
    "answer, redaction": ("adapters/redaction.py",),
    "transport": (
        "httpx_aiohttp/",
        "aiohttp/",
        "yarl/",
        "adapters/http_transport.py",
        "adapters/egress.py",
        "exchange (services/adapters/http.py",
        "aiosmtplib/",
        "email/smtp_wire.py",
    ),
    "request build": (
        "adapters/email/",
        "adapters/sms/",
        "adapters/mime.py",
        "adapters/aws.py",
        "adapters/http.py",
        "botocore/",
    ),
    "accept and its commit": (
        "Store._accept",
        "accept (services/dispatch/ledger.py",
        "dispatch/intake.py",
        "dispatch/acceptor.py",
    ),
    "settle": (
        "Store._apply",
        "dispatch/settler.py",
        "dispatch/ledger.py",
        "dispatch/breaker_book.py",
        "dispatch/health_board.py",
    ),
    "delivery": ("dispatch/delivery.py", "dispatch/failover.py", "dispatch/health.py", "dispatch/decision.py"),
    "batching": ("chassis/batcher.py",),
    "claims, watchers, the rest of dispatch": ("services/dispatch/",),
}
# What counts for whoever called it; the driver for itself where nobody did.
SHARED = ("dispatch/access.py",)
DRIVER, DRIVER_MARK = "database driver", "asyncpg/"
OTHER = "event loop and the rest"


def stage_of(frames: Iterable[str]) -> str:
    """The stage of one sample, its frames from the outermost to the innermost."""
    known = [frame for frame in frames if not any(mark in frame for mark in SHARED)]
    for frame in reversed(known):
        for stage, marks in STAGES.items():
            if any(mark in frame for mark in marks):
                return stage
    return DRIVER if any(DRIVER_MARK in frame for frame in known) else OTHER


def by_stage(stacks: str) -> Counter[str]:
    """Samples by stage, of py-spy's raw format: `outer;…;inner count`, one line each."""
    found: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        found[stage_of(stack.split(";"))] += int(count)
    return found


def by_function(stacks: str) -> Counter[str]:
    """Samples by the function that was running itself."""
    found: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        found[stack.rpartition(";")[2].rpartition(":")[0] + ")"] += int(count)
    return found


def summary(stacks: str, cost_us: float) -> str:
    """Two tables: microseconds a message by stage, when a message costs `cost_us` of CPU, and the busiest functions."""
    stages, functions = by_stage(stacks), by_function(stacks)
    total = max(stages.total(), 1)
    lines = ["| stage | share | µs a message |", "| --- | --- | --- |"]
    for stage, count in stages.most_common():
        lines.append(f"| {stage} | {count / total:.1%} | {cost_us * count / total:,.0f} |")
    lines += ["", "| function | share of its own |", "| --- | --- |"]
    lines += [f"| `{name}` | {count / total:.1%} |" for name, count in functions.most_common(SHOWN)]
    return "\n".join(lines)


async def profile_dispatch(rig: Rig) -> str:
    """The summary of a dispatcher that sends single messages as fast as it can. Threads that wait are not counted, and
    what runs in C without a frame of its own counts for whoever called it.
    """
    async with staged(rig, "sendgrid") as stage:
        with TemporaryDirectory(prefix="mp-bench-") as folder:
            stacks = Path(folder) / "stacks"
            # It watches for as long as messages are handed over, not while the rest is drained.
            spying = asyncio.create_task(_spy(stage.dispatch.pid, rig.scale.seconds, stacks))
            found: Run = await stage.service()()
            await spying
            cost = found["cost.service_us"]
            text = summary(stacks.read_text(encoding="utf-8"), cost)
    return f"{found['rate']:,.0f} messages/s while watched, {cost:,.0f} µs of CPU a message\n\n{text}"


async def _spy(pid: int, seconds: float, output: Path) -> None:
    program = Path(sys.executable).with_name("py-spy")
    # Without --nonblocking it stops the process for each sample.
    watched = ("--pid", str(pid), "--nonblocking", "--rate", str(RATE), "--duration", str(max(int(seconds), 1)))
    quiet = asyncio.subprocess.DEVNULL
    spy = await asyncio.create_subprocess_exec(
        program, "record", *watched, "--format", "raw", "--output", output, stdout=quiet, stderr=asyncio.subprocess.PIPE
    )
    _, said = await spy.communicate()
    if spy.returncode:
        raise RuntimeError(f"py-spy could not watch process {pid}: {said.decode(errors='replace').strip()}")
