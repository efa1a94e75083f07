"""The composition root, as far as it fails before it opens anything."""

import pytest

from gateway.app import main
from gateway.server import serve_http

SECRET = {"MESSAGEPIPE_JWT_SECRET": "s" * 40}


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "MESSAGEPIPE_JWT_SECRET"),
        (SECRET | {"MESSAGEPIPE_HTTP_PORT": "x"}, "MESSAGEPIPE_HTTP_PORT='x' is wrong"),
        (SECRET | {"MESSAGEPIPE_LOG_JSON": "xml"}, "MESSAGEPIPE_LOG_JSON='xml' is wrong"),
        (SECRET | {"MESSAGEPIPE_LOG_LEVEL": "loud"}, "'loud' is not a log level"),
    ],
)
async def test_a_bad_setting_is_one_clear_line(capsys: pytest.CaptureFixture[str], environ: dict[str, str], words: str):
    """On stderr, with exit code 1 and without the secret."""
    assert await main(environ) == 1
    line = capsys.readouterr().err

    assert words in line
    assert line.startswith("messagepipe gateway: ")
    assert line.count("\n") == 1
    assert "sss" not in line


async def test_a_busy_port_is_one_clear_line(capsys: pytest.CaptureFixture[str]):
    """With exit code 1."""

    async def nothing(scope: object, receive: object, send: object) -> None:
        """Never called."""

    async with serve_http(nothing, host="127.0.0.1", port=0, grace=1) as taken:
        code = await main(SECRET | {"MESSAGEPIPE_HTTP_PORT": str(taken.port)})
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("messagepipe gateway: ")]

    assert code == 1
    where = f"127.0.0.1:{taken.port}"
    assert len(lines) == 1
    assert f"cannot listen on {where}: address already in use; choose another port or stop what uses it" in lines[0]
