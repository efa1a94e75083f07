"""What `up` says when everything stands."""

import shlex

from cli.banner import curl_line, grpcurl_line
from tests.unit.cli.test_settings import a_plan


def test_the_lines_survive_a_shell() -> None:
    """A shell reads back exactly what was meant, whatever the project is called."""
    curl = shlex.split(curl_line(a_plan(), project="it-s", token="t.o.k"))
    grpcurl = shlex.split(grpcurl_line(a_plan(), project="it-s", token="t.o.k"))

    assert curl[:3] == ["curl", "-sS", "http://127.0.0.1:8080/email/send"]
    assert "authorization: Bearer t.o.k" in curl
    assert "authorization: Bearer t.o.k" in grpcurl
    assert grpcurl[-2:] == ["127.0.0.1:50052", "messagepipe.dispatch.v1.DispatchService/DispatchMessage"]
