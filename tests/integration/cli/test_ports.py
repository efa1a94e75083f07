"""Ports that are free, and ports that are not."""

import socket

import pytest

from cli.ports import free_ports
from cli.problem import Problem


def test_every_taken_port_is_named_with_its_flag() -> None:
    """All problems at once, one line each, with the flag that chooses another."""
    with socket.socket() as one, socket.socket() as two:
        for taken in (one, two):
            taken.bind(("127.0.0.1", 0))
            taken.listen()
        ports = {"gateway": one.getsockname()[1], "config": two.getsockname()[1], "dispatch": 0}
        with pytest.raises(Problem) as caught:
            free_ports("127.0.0.1", ports)

    assert [line.split("choose another with ")[1] for line in caught.value.lines] == ["--http-port", "--config-port"]


def test_zero_takes_a_different_free_port_for_each() -> None:
    """Three zeros are three ports, and each can be listened on afterwards."""
    chosen = free_ports("127.0.0.1", {"gateway": 0, "config": 0, "dispatch": 0})

    assert len(set(chosen.values())) == 3
    assert free_ports("127.0.0.1", chosen) == chosen


def test_a_host_of_another_machine_is_refused() -> None:
    """An address that is not ours (TEST-NET-1, RFC 5737) is one clear line."""
    with pytest.raises(Problem, match=r"can not listen on 192\.0\.2\.1"):
        free_ports("192.0.2.1", {"gateway": 0})
