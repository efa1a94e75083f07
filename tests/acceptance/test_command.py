"""The `messagepipe` command: what a person at a terminal sees, and what is left when they are done."""

import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from messagepipe.dispatch.v1.dispatch_service_pb2 import DispatchMessageRequest

from tests.acceptance.command import (
    ROOT,
    SCRIPT,
    Up,
    environment,
    left_over,
    one_line,
    run,
    running_up,
    shell_blocks,
    wait_for,
)

pytestmark = pytest.mark.timeout(150)  # a first start makes a whole PostgreSQL cluster, on a busy machine too

SERVING = "Serving. Ctrl-C stops everything."


@pytest.fixture
def data() -> Iterator[Path]:
    """A data directory with a short path: PostgreSQL's socket lives inside."""
    folder = Path(tempfile.mkdtemp(prefix="mp-", dir="/tmp"))
    yield folder / "data"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def demo() -> Iterator[Up]:
    """One `up --demo` for all tests that only look."""
    folder = Path(tempfile.mkdtemp(prefix="mp-", dir="/tmp"))
    with running_up(folder / "data", "--demo") as up:
        yield up.until(SERVING)
    shutil.rmtree(folder, ignore_errors=True)


class TestDemo:
    def test_every_attempt_of_the_demo_is_shown(self, demo: Up) -> None:
        """The first provider fails, the second takes it, for the email and for the SMS, each attempt on one line."""
        story = demo.output[demo.output.index("Demo:") :]
        attempts = re.findall(r"^  (\d)  (.+?) \(sandbox\)  (\w+)", story, re.MULTILINE)

        assert attempts == [("1", "Primary (down)", "deferred"), ("2", "Backup", "accepted")] * 2
        assert story.count("SENT through sandbox after 2 attempts") == 2

    def test_the_lines_to_paste_work(self, demo: Up) -> None:
        """The curl line that `up` prints sends an email when pasted; the grpcurl line's request is of the contract."""
        (curl,) = [line for line in demo.output.splitlines() if line.startswith("curl ")]
        (grpcurl,) = [line for line in demo.output.splitlines() if line.startswith("grpcurl ")]

        answer = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, check=True, timeout=30)
        assert json.loads(answer.stdout)["message"] == "Email sent successfully"
        assert grpcurl_request(grpcurl).message.project_id == "demo"

    def test_a_second_start_makes_no_provider_twice(self, data: Path) -> None:
        """The demo's providers are made once, however often the demo is started."""
        with running_up(data, "--demo") as up:
            up.until(SERVING)
        with running_up(data, "--demo") as up:
            up.until(SERVING)
            listed = curl(up, "/email-config/providers?projectId=demo")

        assert [provider["name"] for provider in listed] == ["Primary (down)", "Backup"]

    def test_reflection_lists_both_services(self, demo: Up) -> None:
        """grpcurl needs no .proto file and no token: each service names itself by server reflection."""
        for target, service in (
            (demo.addresses.config, "messagepipe.config.v1.ConfigService"),
            (demo.addresses.dispatch, "messagepipe.dispatch.v1.DispatchService"),
        ):
            with grpc.insecure_channel(target) as channel:
                assert service in ProtoReflectionDescriptorDatabase(channel).get_services()


class TestReadme:
    def test_every_shell_line_works_when_pasted(self, demo: Up) -> None:
        """The README's curl lines, pasted after `make run`, do what the README says."""
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        pasted = [block for block in shell_blocks(readme) if re.search(r"(?<!grp)curl -", block)]
        assert pasted
        for block in pasted:
            script = in_this_machine(block, demo)
            answer = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, check=False, timeout=30
            )
            assert answer.returncode == 0, f"{block}\n{answer.stderr}\n{answer.stdout}"
            for said in re.findall(r"^# → (.+)$", block, re.MULTILINE):
                assert said in answer.stdout, f"{block}\n{answer.stdout}"

    def test_every_grpcurl_line_is_a_request_of_the_contract(self) -> None:
        """What the README hands to grpcurl is a method and a request that exist."""
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        lines = [block for block in shell_blocks(readme) if "grpcurl" in block and "-d" in block]

        assert lines
        for line in lines:
            assert grpcurl_request(line).message.to


class TestServing:
    def test_the_services_are_named_in_their_command_lines(self, demo: Up) -> None:
        """ps and pgrep find each service by `messagepipe <name>`, exactly one process each, and no secret beside it."""
        secret = (demo.data / "jwt.secret").read_text().strip()
        for name in ("config", "dispatch", "gateway"):
            demo.service(name)
        assert not [each.pid for each in demo.family() if secret in " ".join(each.cmdline())]

    def test_a_killed_service_is_started_again(self, data: Path) -> None:
        """`kill -9` of dispatch: `up` says so in one line, starts it again, and messages are sent as before."""
        with running_up(data, "--demo") as up:
            up.until(SERVING)
            killed = up.service("dispatch")
            killed.kill()
            up.until("dispatch was ended by SIGKILL")
            wait_for(lambda: "SENT" in send(up).stdout, 30, lambda: up.output)

            assert killed.pid != up.service("dispatch").pid
            assert up.output.count("dispatch was ended by SIGKILL") == 1

    def test_a_killed_postgresql_is_started_again(self, data: Path) -> None:
        """`kill -9` of PostgreSQL: it recovers and messages are sent as before, nothing that was accepted is gone."""
        with running_up(data, "--demo") as up:
            up.until(SERVING)
            demo_message = json.loads(send(up, "--json").stdout.splitlines()[0])["messageId"]
            postmaster = int((data / "postgres" / "postmaster.pid").read_text().split()[0])
            os.kill(postmaster, signal.SIGKILL)
            up.until("postgres was ended by SIGKILL")
            wait_for(lambda: "SENT" in send(up).stdout, 45, lambda: up.output)

            listed = curl(up, "/v1/messages?projectId=demo&channel=EMAIL")
            assert demo_message in [message["id"] for message in listed["messages"]]

    def test_the_secrets_are_for_their_owner_alone(self, demo: Up) -> None:
        """Nobody else can read the keys, nor reach the database's socket."""
        assert [mode(demo.data / name) for name in ("jwt.secret", "vault.keys")] == [0o600, 0o600]
        assert mode(demo.data / "postgres") == 0o700

    def test_one_data_directory_serves_one_up(self, demo: Up) -> None:
        """A second `up` on the same directory says who holds it, and ends."""
        second = run("up", "--data-dir", str(demo.data))

        assert second.returncode == 1
        assert [f"process {demo.process.pid}"] == re.findall(r"process \d+", one_line(second.stderr))


class TestEnding:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_a_signal_stops_everything_in_order(self, data: Path, number: signal.Signals) -> None:
        """Ctrl-C, SIGTERM and a closed terminal drain and stop everything, PostgreSQL included; exit code 0."""
        with running_up(data) as up:
            family = up.until("messagepipe is ready").family()
            assert len(family) > 4
            up.signal(number)

            assert up.exit_code() == 0
            assert left_over(family) == []
            assert "database system is shut down" in (data / "logs" / "postgres.log").read_text()

    def test_a_second_ctrl_c_ends_everything_at_once(self, data: Path) -> None:
        """Whoever presses Ctrl-C twice does not wait, and still nothing is left running."""
        with running_up(data) as up:
            family = up.until("messagepipe is ready").family()
            os.kill(up.service("gateway").pid, signal.SIGSTOP)  # so that the first one has to wait for it
            up.signal(signal.SIGINT)
            up.until("Stopping")
            up.signal(signal.SIGINT)

            up.exit_code(10)
            assert left_over(family) == []

    def test_ctrl_c_while_starting_leaves_nothing(self, data: Path) -> None:
        """A Ctrl-C before everything stands is taken as well."""
        with running_up(data) as up:
            up.until("config, dispatch and gateway are starting")
            family = up.family()
            up.signal(signal.SIGINT)

            assert up.exit_code() == 0
            assert left_over(family) == []

    def test_a_killed_up_takes_its_processes_with_it(self, data: Path) -> None:
        """`kill -9` of `up` itself leaves no service and no PostgreSQL behind (Linux)."""
        with running_up(data) as up:
            family = up.until("messagepipe is ready").family()
            up.signal(signal.SIGKILL)
            up.exit_code()

            wait_for(lambda: not left_over(family), 45, lambda: str(left_over(family)))


class TestClients:
    def test_token_prints_the_token_and_nothing_else(self, demo: Up) -> None:
        """The output of `token` can be put into a header as it is."""
        printed = run("token", "--project", "demo", "--data-dir", str(demo.data))

        assert printed.stderr == ""
        assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", printed.stdout)

    def test_send_shows_the_attempts_and_answers_by_its_exit_code(self, demo: Up) -> None:
        """0 when a provider took it, 1 when none did; --json gives one event a line, ending with `completed`."""
        sent = send(demo, "--json")
        refused = send(demo, to="invalid@sandbox.test")

        assert sent.returncode == 0, sent.stderr
        assert "completed" in json.loads(sent.stdout.splitlines()[-1])
        assert refused.returncode == 1
        assert "FAILED after 1 attempt" in refused.stdout

    def test_send_names_every_mistake(self, demo: Up) -> None:
        """What is wrong with a message is listed whole, one line per field."""
        refused = run("send", "--project", "demo", "--email", "--to", "nobody", "--data-dir", str(demo.data))

        assert refused.returncode == 1
        assert re.findall(r"^messagepipe: (\w+):", refused.stderr, re.MULTILINE) == ["to", "subject", "text"]

    def test_watch_resumes_where_it_is_told(self, demo: Up) -> None:
        """`watch --after N` shows what came after N, to the end, nothing twice."""
        events = [json.loads(line) for line in send(demo, "--json").stdout.splitlines()]
        arguments = ("watch", events[0]["messageId"], "--json", "--data-dir", str(demo.data))
        whole, rest = run(*arguments), run(*arguments, "--after", "2")

        assert events == [json.loads(line) for line in whole.stdout.splitlines()]
        assert events[2:] == [json.loads(line) for line in rest.stdout.splitlines()]

    def test_doctor_finds_a_healthy_machine_healthy(self, demo: Up) -> None:
        """With everything running, every finding of the doctor is ok."""
        looked = run("doctor", "--data-dir", str(demo.data), "--json")

        assert {"ok"} == {finding["level"] for finding in json.loads(looked.stdout)}
        assert looked.returncode == 0

    def test_doctor_fails_when_nothing_runs(self, data: Path) -> None:
        """With nothing running, the doctor says what to start, and exits with 1."""
        ports = {f"MESSAGEPIPE_{name}_PORT": str(free_port()) for name in ("HTTP", "CONFIG", "DISPATCH")}
        looked = run("doctor", "--data-dir", str(data), environ=environment(**ports))

        assert looked.returncode == 1
        assert "messagepipe up" in looked.stdout

    def test_healthcheck_tells_one_that_serves_from_one_that_does_not(self, demo: Up) -> None:
        """What containers ask: exit code 0 for a service that serves, 1 for a port that nobody serves."""
        port = demo.addresses.dispatch.rpartition(":")[2]

        assert run("healthcheck", "dispatch", environ=environment(MESSAGEPIPE_DISPATCH_PORT=port)).returncode == 0
        closed = environment(MESSAGEPIPE_DISPATCH_PORT=str(free_port()))
        assert run("healthcheck", "dispatch", environ=closed).returncode == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="who is not root runs every other test as an ordinary user already")
def test_an_ordinary_user_can_run_it() -> None:
    """As an ordinary user `up --demo` works as it does for root."""
    nobody = pwd.getpwnam("nobody")
    folder = Path(tempfile.mkdtemp(prefix="mp-", dir="/tmp"))
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    prefix = ("setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups")
    environ = environment(HOME=str(folder))
    start_itself = "import subprocess, sys; subprocess.run([sys.executable, sys.argv[1], '--version'], check=True)"
    probe = [*prefix, sys.executable, "-c", start_itself, str(SCRIPT)]
    if not shutil.which("setpriv") or subprocess.run(probe, env=environ, capture_output=True, check=False).returncode:
        pytest.skip("this machine's Python can not be run by an ordinary user")
    up = Up(folder / "data", "--demo", environ=environ, prefix=prefix)
    try:
        family = up.until(SERVING).family()
        up.signal(signal.SIGINT)

        assert up.exit_code() == 0
        assert left_over(family) == []
    finally:
        up.process.kill()
        up.exit_code()
        shutil.rmtree(folder, ignore_errors=True)


def send(up: Up, *more: str, to: str = "ada@example.com") -> "subprocess.CompletedProcess[str]":
    """One email of the demo project."""
    content = ("--email", "--to", to, "--subject", "Hello", "--text", "Hello")
    return run("send", "--project", "demo", *content, "--data-dir", str(up.data), *more)


def curl(up: Up, path: str) -> Any:
    """What a GET with a fresh token answers."""
    line = f"curl -sS --fail 'http://127.0.0.1:8080{path}' -H \"authorization: Bearer $({TOKEN})\""
    script = in_this_machine(line, up)
    answer = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, timeout=30)
    return json.loads(answer.stdout)


TOKEN = ".venv/bin/messagepipe token --project demo --data-dir .messagepipe"


def in_this_machine(script: str, up: Up) -> str:
    """A line of the README with this test's addresses in place of the default ones."""
    here = {
        "127.0.0.1:8080": up.addresses.http,
        "127.0.0.1:50051": up.addresses.config,
        "127.0.0.1:50052": up.addresses.dispatch,
        "--data-dir .messagepipe": f"--data-dir {up.data}",
        ".venv/bin/messagepipe": f"{sys.executable} {SCRIPT}",
    }
    for usual, actual in here.items():
        script = script.replace(usual, actual)
    return script


def grpcurl_request(line: str) -> DispatchMessageRequest:
    """The request in a grpcurl line, parsed as strictly as grpcurl does."""
    assert "messagepipe.dispatch.v1.DispatchService/DispatchMessage" in line
    body = re.search(r"-d '(.+?)'", line, re.DOTALL)
    assert body is not None
    return json_format.Parse(body[1], DispatchMessageRequest())


def mode(path: Path) -> int:
    """The permission bits."""
    return path.stat().st_mode & 0o777


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port
