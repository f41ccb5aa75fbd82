"""Runs the application: the address, the host names that it answers to, slow clients, and a clean end."""

import asyncio
import resource
import signal
import socket
import sys
from collections.abc import Collection, Iterable, Mapping
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import h11
import uvicorn
from starlette.datastructures import Headers, MutableHeaders
from uvicorn.protocols.http.h11_impl import H11Protocol

from tasks.core.addresses import is_readable
from tasks.core.errors import UsageError
from tasks.core.serving.app import error_response

LOCAL = ("127.0.0.1", "localhost", "::1")
CONNECTIONS = 1000  # open at the same time; further ones get 503
WAITING = 256  # connections that wait to be accepted
IDLE_SECONDS = 15  # until a connection between two requests is closed
STOP_SECONDS = 30  # for requests in progress, when the server is told to stop
POLICY = (
    "default-src 'none'; img-src 'self' blob: data:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware: refuses other host names and origins, and adds the headers of `HEADERS`.

    A page of another site could reach a server on this machine by a name that it lets point here (DNS
    rebinding), and could send forms to it.

    Args:
        app: The application.
        hosts: Host names that are answered; empty for all.
    """

    def __init__(self, app: Any, hosts: Collection[str]) -> None:
        self.app, self.hosts = app, frozenset(hosts)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        if scope["method"] == "HEAD":
            scope = scope | {"method": "GET"}  # uvicorn leaves out the content

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        if reason := self._refusal(scope["method"], headers):
            refused = error_response(HTTPStatus.FORBIDDEN, reason, {"Connection": "close"})
            await refused(scope, receive, send_with_headers)
        else:
            await self.app(scope, receive, send_with_headers)

    def _refusal(self, method: str, headers: Headers) -> str:
        host, origin = headers.get("host", ""), headers.get("origin")
        if self.hosts and _host_name(f"//{host}") not in self.hosts:
            return "for another host; --allowed-host names further ones"
        if method != "GET" and origin is not None and _net_location(origin) != host:
            return "from a page of another site"
        return ""


class Protocol(H11Protocol):
    """HTTP/1.1 with a time limit for a request's header, and a limit of connections; uvicorn has neither.

    Without the latter, idle connections use up the files of the process, and asyncio logs a traceback for
    each one that it cannot accept: 2,300 a second.
    """

    header_seconds = 20.0
    most_connections = CONNECTIONS
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first header."""
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            busy = "too many connections are open already"
            transport.write(_closing_answer(HTTPStatus.SERVICE_UNAVAILABLE, busy, {"Retry-After": "1"}))
            transport.close()
        else:
            self._expect_header()

    def data_received(self, data: bytes) -> None:
        """Take data; a header that is complete, or one that begins, sets the clock."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._forget_deadline()
        elif self._deadline is None and self.conn.trailing_data[0]:
            self._expect_header()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP in the form of all errors; uvicorn calls this with h11's error at hand."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):  # else a response has begun
            error = sys.exception()
            status = HTTPStatus(getattr(error, "error_status_hint", HTTPStatus.BAD_REQUEST))
            found = str(error).partition(": bytearray")[0] or msg
            reason = f"expected a request of HTTP/1.1 with a header below 64 KB; found: {found}"
            self.transport.write(_closing_answer(status, reason))
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._forget_deadline()
        super().connection_lost(exc)

    def _should_upgrade(self) -> bool:
        """Ignore a wish for another protocol, as RFC 9110 allows; uvicorn logs what to install for it."""
        return False

    def _expect_header(self) -> None:
        self._deadline = self.loop.call_later(self.header_seconds, self._close)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


def hosts_of(host: str, allowed: Iterable[str] | None) -> frozenset[str]:
    """The host names that are answered; empty for all.

    Args:
        host: The address that the server listens on.
        allowed: Further names.
    """
    named = frozenset(allowed or ())
    if is_local(host):
        return named | {*LOCAL, host}
    return named


def is_local(host: str) -> bool:
    """Whether only this machine reaches the address.

    >>> is_local("127.0.0.1"), is_local("localhost"), is_local("0.0.0.0")
    (True, True, False)
    """
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, so that a port that is not free is known before the model is loaded.

    Args:
        host: An address of this machine, or its name.
        port: The port; 0 for a free one.

    Raises:
        UsageError: They cannot be used.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=512)
    except (OSError, OverflowError, UnicodeError) as error:
        raise UsageError(
            f"{host}:{port} cannot be used",
            expected="an address of this machine, and a free port from 1024 to 65535; 0 takes a free one",
            found=str(error),
            done="nothing was started",
            todo="choose another --port, or another --host",
        ) from error


def create_server(app: Any, hosts: Collection[str], header_seconds: float) -> uvicorn.Server:
    """The server of an application.

    Args:
        app: The application.
        hosts: Host names that are answered; empty for all.
        header_seconds: Time limit of a request's header.
    """
    files = _open_files(2 * CONNECTIONS)
    limits = {"header_seconds": header_seconds, "most_connections": min(CONNECTIONS, files // 2)}
    protocol = type("LimitedProtocol", (Protocol,), limits)
    config = uvicorn.Config(
        Guard(app, hosts),
        http=protocol,
        ws="none",
        lifespan="on",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=min(WAITING, files // 4),  # asyncio accepts so many before it looks at the first of them
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    return uvicorn.Server(config)


def serve(server: uvicorn.Server, listening: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C; requests in progress are answered first."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # uvicorn raises the signal again when it has ended
    server.run([listening])


def _closing_answer(status: HTTPStatus, reason: str, headers: Mapping[str, str] | None = None) -> bytes:
    """An error as the bytes of a whole response, after which the connection is closed."""
    response = error_response(status, reason, {"Connection": "close"} | HEADERS | dict(headers or {}))
    lines = [b"HTTP/1.1 %d %b" % (status, status.phrase.encode())]
    lines += [b"%b: %b" % header for header in response.raw_headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + bytes(response.body)


def _open_files(wanted: int) -> int:
    """How many files this process may open, after asking the system for as many as are wanted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else soft


def _net_location(address: str) -> str | None:
    return urlsplit(address).netloc if is_readable(address) else None


def _host_name(address: str) -> str:
    return (urlsplit(address).hostname or "") if is_readable(address) else ""
