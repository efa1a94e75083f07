"""moto's server as a process of its own: a stranger's SES, SNS, STS and IAM. What it leaves out of them is in
tests/strangers/test_moto_*.py where it matters.

A process, not a thread: moto hooks itself into every botocore client of the process that loads it.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.strangers.makers.amazon import client

START_SECONDS = 30
ACCOUNT = "123456789012"  # whose every key is that moto does not know otherwise


class Moto:
    """A running server; `url` is for endpoint settings."""

    def __init__(self, url: str, log: Path) -> None:
        self.url = url
        self._log = log
        self._http = httpx.Client(base_url=url)  # one: each loads the machine's certificates anew

    def close(self) -> None:
        """Close our own connections to it; the process is ended by who started it."""
        self._http.close()

    def reset(self) -> None:
        """Forget everything, and believe every key."""
        self._post("reset", "")
        self._post("reset-auth", "inf")

    def check_credentials(self) -> None:
        """From now on believe only keys that its IAM made, their signatures, and what their policies allow."""
        self._post("reset-auth", "0")

    def user(self, *actions: str) -> dict[str, str]:
        """The settings of a new user who may do just this."""
        iam = client("iam", self.url)
        iam.create_user(UserName="sender")
        iam.put_user_policy(UserName="sender", PolicyName="only", PolicyDocument=_allowing(*actions))
        made = iam.create_access_key(UserName="sender")["AccessKey"]
        return {"accessKeyId": made["AccessKeyId"], "secretAccessKey": made["SecretAccessKey"]}

    def recorded(self, service: str, model: str) -> list[dict[str, Any]]:
        """Everything of this sort that it has taken, oldest first."""
        data: dict[str, dict[str, list[dict[str, Any]]]] = self._http.get("/moto-api/data.json").json()
        return data.get(service, {}).get(model, [])

    def calls(self, path: str) -> int:
        """How many POSTs to this path have ever arrived, refused ones too."""
        return self._log.read_text().count(f'"POST {path} HTTP')

    def role(self, trusted: str, external_id: str, *actions: str) -> str:
        """The ARN of a new role that may do just this, and may be taken by `trusted` with this external id."""
        iam = client("iam", self.url)
        condition = {"StringEquals": {"sts:ExternalId": external_id}}
        trust = _document(Action="sts:AssumeRole", Principal={"AWS": trusted}, Condition=condition)
        arn: str = iam.create_role(RoleName="mail", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        iam.put_role_policy(RoleName="mail", PolicyName="only", PolicyDocument=_allowing(*actions))
        return arn

    def _post(self, what: str, body: str) -> None:
        self._http.post(f"/moto-api/{what}", content=body).raise_for_status()


@contextmanager
def running_moto(folder: Path) -> Iterator[Moto]:
    """A server on a free port of its own choosing; ended by its process id afterwards."""
    log = folder / "moto.log"
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MOTO_"))}
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with log.open("wb") as output, subprocess.Popen(command, env=environ, stdout=output, stderr=output) as process:
        try:
            with closing(Moto(_address(process, log), log)) as moto:
                yield moto
        finally:
            process.terminate()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends and process.poll() is None:
        if found := re.search(r"Running on (http://127\.0\.0\.1:\d+)", log.read_text()):
            return found[1]
        time.sleep(0.05)
    raise RuntimeError(f"moto did not start: {log.read_text()}")


def _allowing(*actions: str) -> str:
    return _document(Action=list(actions), Resource="*")


def _document(**statement: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})
