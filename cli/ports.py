"""Whether a port can be had, asked before anything is started. Not the binding itself; each service does that."""

import errno
import os
import socket
from collections.abc import Mapping

from cli.problem import Problem

FLAGS = {"gateway": "--http-port", "config": "--config-port", "dispatch": "--dispatch-port"}


def free_ports(host: str, ports: Mapping[str, int]) -> dict[str, int]:
    """The same ports, a free one where 0 stood; Problem naming every port that is taken, and how to choose another."""
    chosen: dict[str, int] = {}
    problems: list[str] = []
    held: list[socket.socket] = []  # all are held until each was tried, so that 0 never gives the same port twice
    try:
        for process, port in ports.items():
            try:
                server = _bind(host, port)
            except OSError as error:
                problems.append(_why(host, process, port, error))
                continue
            held.append(server)
            chosen[process] = server.getsockname()[1]
    finally:
        for server in held:
            server.close()
    if problems:
        raise Problem(*problems)
    return chosen


def _bind(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(
        host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    server = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Without it, connections of a server that just stopped would count as a busy port (TIME_WAIT).
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(address)
        server.listen(1)
    except OSError:
        server.close()
        raise
    return server


def _why(host: str, process: str, port: int, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"{host} is no address of this machine; choose another with --host"
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is taken, so {process} can not use it; choose another with {FLAGS[process]}"
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    return f"{process} can not listen on {host} port {port}: {reason}; choose another with {FLAGS[process]} or --host"
