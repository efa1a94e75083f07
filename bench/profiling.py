"""Where a dispatcher's time goes under load: py-spy's samples of it, sorted into the stages of a message.

The process stands still for each sample, so that no stack is torn; and what a thread's samples are worth together is
the CPU time that the kernel counted for it, so that a thread which mostly waits weighs next to nothing.
"""

import asyncio
import re
import signal
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from bench.rig import Loop, Rig, Run
from bench.scenarios import batch
from bench.scenarios.stage import staged

RATE = 200  # samples a second: each costs the process about 0.1 ms of standing still
SHOWN = 25
WAYS = ("unary", "batch", "smtp")

# Frames from the outermost to the innermost, as py-spy writes them: `function (file:line)`; and the share of the
# process's CPU time that they stand for.
Sample = tuple[Sequence[str], float]

_THREAD = re.compile(r"thread \((\d+)\)")
_LINE = re.compile(r":\d+\)$")
_NO_PYTHON = "a thread without Python"

# A sample belongs to the innermost of its frames that says anything here; httpx and asyncio, which many stages use, say
# nothing.
STAGES: Mapping[str, tuple[str, ...]] = {
    "log": ("structlog/", "logging/", "chassis/log.py"),
    "protobuf": ("protobuf/", "dispatch/convert.py", "dispatch/history.py"),
    "validation": ("chassis/validation.py", "dispatch/content.py", "email_validator/", "idna/", "phonenumbers/"),
    "grpc's own threads": ("Thread.run (threading.py", _NO_PYTHON),
    # What it does in C on the event loop's thread is among the rest.
    "grpc": (
        "grpc/",
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


def samples(stacks: str, cpu: Mapping[int, float]) -> list[Sample]:
    """py-spy's raw format with threads: `thread (id): name;outer;…;inner count`, one line each; `cpu` is the seconds
    that each thread ran meanwhile.
    """
    total = sum(cpu.values()) or 1.0
    found: dict[int, list[tuple[list[str], int]]] = {}
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        first, *frames = stack.split(";")
        if thread := _THREAD.match(first):
            found.setdefault(int(thread[1]), []).append((frames, int(count)))
    weighed: list[Sample] = []
    for thread_id, its in found.items():
        share = cpu.get(thread_id, 0.0) / total / sum(count for _, count in its)
        weighed += [(frames, count * share) for frames, count in its]
    unseen = sum(seconds for thread_id, seconds in cpu.items() if thread_id not in found)
    return [*weighed, ((_NO_PYTHON,), unseen / total)] if unseen else weighed


def by_stage(found: Iterable[Sample]) -> Counter[str]:
    """Shares of the CPU time by stage."""
    shares: Counter[str] = Counter()
    for frames, share in found:
        shares[stage_of(frames)] += share  # type: ignore[assignment]  # Counter's annotation knows only integers
    return shares


def by_function(found: Iterable[Sample], *, within: bool) -> Counter[str]:
    """Shares of the CPU time by function: the one that was running itself; or `within` it and all that it called, for
    functions of ours only.
    """
    shares: Counter[str] = Counter()
    for frames, share in found:
        names = [_LINE.sub(")", frame) for frame in frames]
        for name in {name for name in names if "services/" in name} if within else names[-1:]:
            shares[name] += share  # type: ignore[assignment]  # as above
    return shares


def summary(found: Sequence[Sample], cost_us: float) -> str:
    """Three tables of microseconds a message of `cost_us` microseconds of CPU: by stage, within functions of ours,
    and in the busiest functions themselves.
    """
    within, own = by_function(found, within=True), by_function(found, within=False)
    return "\n\n".join(
        (
            _table("stage", by_stage(found), cost_us),
            _table("function of ours, with all that it calls", within, cost_us, "`"),
            _table("function, by itself", own, cost_us, "`"),
        )
    )


def _table(what: str, shares: Counter[str], cost_us: float, quote: str = "") -> str:
    lines = [f"| {what} | share | µs a message |", "| --- | --- | --- |"]
    most = shares.most_common(SHOWN)
    lines += [f"| {quote}{name}{quote} | {share:.1%} | {cost_us * share:,.0f} |" for name, share in most]
    return "\n".join(lines)


async def profile_dispatch(rig: Rig, way: str) -> str:
    """The summary of a dispatcher that takes messages as fast as it can, until all are sent: single ones or batches
    through SendGrid, or single mails through SMTP.
    """
    async with staged(rig, "smtp" if way == "smtp" else "sendgrid") as stage:
        many = {"way": "batch", "in_flight": batch.CALLS, "most": int(batch.OFFERED * rig.scale.seconds)}
        seen, found = await _watched(
            stage.dispatch.pid, stage.service(**(many if way == "batch" else {"way": "unary"}))
        )
    cost = found["cost.service_us"]
    head = f"{way}: {found['rate']:,.0f} messages/s while watched, {cost:,.0f} µs of CPU a message"
    return f"{head}\n\n{summary(seen, cost)}"


async def _watched(pid: int, loop: Loop) -> tuple[list[Sample], Run]:
    """What py-spy saw of a process from the beginning of a loop to its end, and what the loop found."""
    with TemporaryDirectory(prefix="mp-bench-") as folder:
        stacks = Path(folder) / "stacks"
        before = _thread_seconds(pid)
        spy = await _spy(pid, stacks)
        found = await loop()
        after = _thread_seconds(pid)
        with suppress(ProcessLookupError):
            spy.send_signal(signal.SIGINT)  # it writes what it has
        _, said = await spy.communicate()
        if spy.returncode:
            raise RuntimeError(f"py-spy could not watch process {pid}: {said.decode(errors='replace').strip()}")
        used = {thread: seconds - before.get(thread, 0.0) for thread, seconds in after.items()}
        return samples(stacks.read_text(encoding="utf-8"), used), found


async def _spy(pid: int, output: Path) -> asyncio.subprocess.Process:
    program = Path(sys.executable).with_name("py-spy")
    watched = ("--pid", str(pid), "--threads", "--rate", str(RATE), "--format", "raw", "--output", str(output))
    quiet, kept = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(program, "record", *watched, stdout=quiet, stderr=kept)


def _thread_seconds(pid: int) -> Mapping[int, float]:
    with suppress(psutil.Error):
        return {each.id: each.user_time + each.system_time for each in psutil.Process(pid).threads()}
    return {}
