"""Free ports for processes of one machine that talk to each other."""

import socket


def free_ports(count: int) -> list[int]:
    """Returns that many ports of the loopback on which no process listens at the moment."""
    sockets = [socket.socket() for _ in range(count)]
    for probe in sockets:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in sockets]
    for probe in sockets:
        probe.close()
    return ports
