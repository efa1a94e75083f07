"""`messagepipe up`: PostgreSQL, migrations and the three services here, until Ctrl-C. Not how each is kept alive."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from cli import banner
from cli.datadir import Addresses, DataDir
from cli.demo import PROJECT as DEMO_PROJECT
from cli.demo import run_demo
from cli.duration import show_duration
from cli.house import House, open_house
from cli.plan import load_settings, make_plan
from cli.postgres import Cluster, ensure_database, prepare_cluster
from cli.problem import Problem
from cli.process import Program
from cli.serve import migrate_all
from cli.settings import Plan, is_loopback
from cli.terminal import Colour, Terminal
from cli.token import longest_ttl, mint_token
from services.chassis.clock import Clock
from services.chassis.database import DatabaseUnreachable, parse_dsn, wait_until_reachable
from services.chassis.durability import check_durability, refusal

DATABASE_PATIENCE = 5.0  # seconds for a database that is said to be running
EMBEDDED_PATIENCE = 60.0  # seconds for our own, which may have to recover first
READY_PATIENCE = 60.0
READY_POLL = 0.1
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TOKEN_SECONDS = 24 * 3600
# A little more than each takes to drain; with the head starts, everything has ended within 30 s of the first signal.
GRACE = {"gateway": 20.0, "dispatch": 26.0, "config": 6.0}
HEAD_START = {"gateway": 2.0, "dispatch": 20.0, "config": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """What was asked for on the command line beside the settings."""

    data: DataDir
    demo: bool = False
    verbose: bool = False


async def up(options: UpOptions, environ: Mapping[str, str], *, terminal: Terminal, clock: Clock) -> int:
    """Serve until SIGINT, SIGTERM or SIGHUP, then stop everything; a second signal ends everything at once.

    Exit code 0 after a signal. Problem when it can not start; nothing is left running then either.
    """
    settings = load_settings(environ)
    options.data.prepare()
    with options.data.held():
        plan = make_plan(settings, options.data, environ)
        running = Running(options, plan, terminal=terminal, clock=clock)
        return await until_signal(running)


class Running:
    """One run of `up`: `serve` does the work, `kill` is for the impatient."""

    def __init__(self, options: UpOptions, plan: Plan, *, terminal: Terminal, clock: Clock) -> None:
        self._options = options
        self._plan = plan
        self._terminal = terminal
        self._clock = clock
        self._house: House | None = None

    async def serve(self) -> None:
        """Start everything, say so, and serve until cancelled; every process has ended when this returns."""
        async with open_house(clock=self._clock, say=self.say) as house:
            self._house = house
            await self._start_database(house)
            await migrate_all(self._plan.database_url, patience=EMBEDDED_PATIENCE)
            for name in ("config", "dispatch", "gateway"):
                house.start(self._service(name))
            await self._until_ready(house)
            self._options.data.announce(_addresses(self._plan))
            self._say_ready()
            if self._options.demo:
                await self._demo()
            await asyncio.Event().wait()

    def names(self) -> str:
        """What has to be stopped, in that order."""
        children = reversed(self._house.children) if self._house else ()
        return ", ".join(child.program.name for child in children) or "before anything was started"

    def kill(self) -> None:
        """End every process now."""
        if self._house is not None:
            self._house.kill()

    def say(self, line: str) -> None:
        """One quiet line about what goes on."""
        self._terminal.say(self._terminal.paint(line, Colour.QUIET))

    async def _start_database(self, house: House) -> None:
        if self._plan.settings.database_url is None:
            await self._start_embedded(house)
            return
        try:
            await wait_until_reachable(self._plan.database_url, timeout=DATABASE_PATIENCE)
        except DatabaseUnreachable as error:
            raise Problem(f"the database of MESSAGEPIPE_DATABASE_URL can not be reached: {error}") from None
        found = (await check_durability(self._plan.database_url)).weaknesses
        if found and not self._plan.settings.allow_unsafe_durability:
            raise Problem(refusal(parse_dsn(self._plan.database_url).shown, found))
        for setting in found:
            self._terminal.problem(f"warning: the database runs with {setting}: a crash can lose accepted messages")

    async def _start_embedded(self, house: House) -> None:
        data = self._options.data
        first = "" if data.postgres.exists() else ", made now for the first time"
        self.say(f"PostgreSQL in {data.postgres}{first}")
        cluster = await asyncio.to_thread(prepare_cluster, data.postgres, self._plan.base)
        child = house.start(cluster.program(log=data.logs / "postgres.log", environ=self._plan.base))
        await _database_up(cluster)
        if child.restarts:
            self.say("PostgreSQL needed more than one start")

    def _service(self, name: str) -> Program:
        return Program(
            name=name,
            command=service_command(name),
            environ=self._plan.environ_of(name),
            log=None if self._options.verbose else self._options.data.logs / f"{name}.log",
            grace=GRACE[name],
            head_start=HEAD_START[name],
        )

    async def _until_ready(self, house: House) -> None:
        url = f"http://{self._plan.target('gateway')}/readyz"
        self.say("config, dispatch and gateway are starting")
        # trust_env: a proxy of the environment has no business between our own processes.
        async with httpx.AsyncClient(trust_env=False, timeout=2.0) as client:
            try:
                async with asyncio.timeout(READY_PATIENCE):
                    while not await _answers(client, url):
                        _check_alive(house)
                        await self._clock.sleep(READY_POLL)
                    house.settle()
                    _check_alive(house)
            except TimeoutError:
                raise Problem(
                    f"the services were not ready within {READY_PATIENCE:g} s; see {self._options.data.logs}"
                ) from None

    def _say_ready(self) -> None:
        plan, terminal = self._plan, self._terminal
        project = DEMO_PROJECT if self._options.demo else "default"
        ttl = longest_ttl(TOKEN_SECONDS, plan.jwt_secret, plan.base)
        token = mint_token(plan.jwt_secret, project=project, ttl_seconds=ttl, environ=plan.base, clock=self._clock)
        terminal.say(terminal.paint("messagepipe is ready", Colour.STRONG))
        for line in banner.addresses(plan, str(self._options.data.logs)):
            terminal.say(line)
        if not is_loopback(plan.settings.host):
            terminal.problem(f"warning: {plan.settings.host} is served without TLS; put a proxy that has it in front")
        terminal.say()
        terminal.say(f"Send an email as project `{project}` (the token lasts {show_duration(ttl)}):")
        terminal.say()
        terminal.say(banner.curl_line(plan, project=project, token=token))
        terminal.say()
        terminal.say(banner.grpcurl_line(plan, project=project, token=token))
        terminal.say()

    async def _demo(self) -> None:
        try:
            await run_demo(self._plan, terminal=self._terminal, clock=self._clock)
        except Problem as problem:
            for line in problem.lines:
                self._terminal.problem(f"demo: {line}")
        self._terminal.say("Serving. Ctrl-C stops everything.")


async def until_signal(running: Running) -> int:
    """Let it serve until a signal: the first one stops it in order, the second ends every process at once."""
    work = asyncio.create_task(running.serve())
    signals = 0

    def on_signal() -> None:
        nonlocal signals
        signals += 1
        if signals == 1:
            running.say(f"Stopping {running.names()}. Once more ends everything at once.")
            work.cancel()
        else:
            running.kill()

    loop = asyncio.get_running_loop()
    stop_signals = [number for number in STOP_SIGNALS if not _kept_from_us(number)]
    for number in stop_signals:
        loop.add_signal_handler(number, on_signal)
    try:
        await work
    except asyncio.CancelledError:
        running.say("Stopped.")
    except BaseExceptionGroup as group:
        raise _first(group) from None
    finally:
        for number in stop_signals:
            loop.remove_signal_handler(number)
    return 0


def service_command(name: str) -> tuple[str, ...]:
    """How one service is started, so that `messagepipe <name>` stands in its command line for ps and pgrep."""
    script = Path(sys.executable).parent / "messagepipe"
    if script.exists():
        return (sys.executable, str(script), name)
    # Installed without the script beside this interpreter: the comment keeps the name in the command line.
    return (sys.executable, "-c", "from cli.main import main; raise SystemExit(main())  # messagepipe", name)


def _kept_from_us(number: signal.Signals) -> bool:
    # nohup has it ignored on purpose. Ctrl-C is different: a script's background job ignores it by accident.
    return number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN


async def _database_up(cluster: Cluster) -> None:
    try:
        await wait_until_reachable(cluster.address("postgres"), timeout=EMBEDDED_PATIENCE)
    except DatabaseUnreachable as error:
        raise Problem(f"PostgreSQL did not start: {error}; its log is beside {cluster.folder}") from None
    await ensure_database(cluster)


def _check_alive(house: House) -> None:
    for child in house.children:
        if child.failed:
            words = child.last_words()
            raise Problem(f"{child.program.name} could not start{': ' + words if words else ''}")


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).is_success
    except httpx.TransportError:
        return False


def _addresses(plan: Plan) -> Addresses:
    return Addresses(
        pid=os.getpid(),
        http=plan.target("gateway"),
        config=plan.target("config"),
        dispatch=plan.target("dispatch"),
    )


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error that says why: a Problem where there is one."""
    problems, rest = group.split(Problem)
    found: BaseException = problems or rest or group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
