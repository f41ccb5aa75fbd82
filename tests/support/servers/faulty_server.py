"""A real HTTP server with faults that a download must survive."""

import hashlib
import re
import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tasks.core.data.sources.catalog import RemoteFile

SLICE = 4096  # bytes written at a time; fewer at a low rate


@dataclass(frozen=True)
class Answer:
    """How one request is answered.

    Args:
        status: An HTTP status; the file is sent with 200 only.
        ranges: Whether a Range header is respected.
        announce: The size in the headers; None for the true one, 0 for none.
        drop_after: Bytes after which the connection is closed.
        reset: Whether it is closed by a TCP reset instead of an orderly end.
        stall_after: Bytes after which nothing is sent for `stall` seconds.
        stall: Seconds.
        rate: Bytes per second; None for no limit.
        wrong: Whether wrong bytes are sent, of the same number.
        to: Another path, to which the request is redirected.
    """

    status: int = 200
    ranges: bool = True
    announce: int | None = None
    drop_after: int | None = None
    reset: bool = False
    stall_after: int | None = None
    stall: float = 2.0
    rate: float | None = None
    wrong: bool = False
    to: str = ""


GOOD = Answer()


@dataclass(frozen=True)
class Request:
    """An answered request: its path, the first byte that it requested, and its time."""

    path: str
    start: int
    seconds: float


@dataclass
class FaultyServer:
    """Serves `content` at any number of addresses, each with its own answers.

    Use it as a context manager. `answers` maps a path to its answers, one per request in order; the last one
    is repeated.
    """

    content: bytes
    answers: dict[str, Sequence[Answer]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    sent: int = 0

    def __enter__(self) -> "FaultyServer":
        owner = self

        class Handler(_Handler):
            server_of_faults = owner

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._lock = threading.Lock()
        self.closing = threading.Event()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def address(self, *answers: Answer) -> str:
        """A new address with these answers."""
        path = f"/{len(self.answers)}/file.bin"
        self.answers[path] = answers or (GOOD,)
        return self.url(path)

    def url(self, path: str) -> str:
        """The address of a path."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{path}"

    def file(self, *urls: str) -> RemoteFile:
        """The file with its true content, at `urls`."""
        return RemoteFile(
            name="file.bin",
            urls=urls,
            bytes=len(self.content),
            sha256=hashlib.sha256(self.content).hexdigest(),
        )

    def requests_to(self, url: str) -> list[Request]:
        """The requests to an address or a path."""
        return [request for request in self.requests if url.endswith(request.path)]

    def take(self, path: str, start: int) -> Answer:
        """Record a request and return its answer."""
        with self._lock:
            count = len(self.requests_to(path))
            self.requests.append(Request(path, start, time.monotonic()))
        answers = self.answers[path]
        return answers[min(count, len(answers) - 1)]

    def count(self, sent: int) -> None:
        """Add to the bytes sent."""
        with self._lock:
            self.sent += sent


class _Handler(BaseHTTPRequestHandler):
    server_of_faults: FaultyServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer a request."""
        range_match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(range_match[1]) if range_match else 0
        answer = self.server_of_faults.take(self.path, start)
        self.close_connection = True
        if answer.to:
            self._refuse(302, {"Location": self.server_of_faults.url(answer.to)})
        elif answer.status != 200:
            self._refuse(answer.status, {})
        elif answer.ranges and start >= len(self.server_of_faults.content):
            self._refuse(416, {})
        else:
            self._serve(answer, start if answer.ranges else 0)

    def _refuse(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()

    def _serve(self, answer: Answer, start: int) -> None:
        content = self.server_of_faults.content
        total = len(content) if answer.announce is None else answer.announce
        if start:
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{max(total, start + 1) - 1}/{total or '*'}")
        else:
            self.send_response(200)
        if total:
            self.send_header("Content-Length", str(max(0, total - start)))
        self.end_headers()
        if answer.wrong:
            content = bytes(byte ^ 0x5A for byte in content)
        try:
            self._send(answer, content[start:])
        except OSError:  # the client closed the connection
            return

    def _send(self, answer: Answer, body: bytes) -> None:
        began, sent = time.monotonic(), 0
        while sent < len(body):
            if answer.drop_after is not None and sent >= answer.drop_after:
                self._drop(answer.reset)
                return
            if answer.stall_after is not None and sent >= answer.stall_after:
                self.server_of_faults.closing.wait(answer.stall)
                return
            end = _next_stop(answer, sent, len(body))
            self.wfile.write(body[sent:end])
            self.server_of_faults.count(end - sent)
            sent = end
            if answer.rate:
                self.server_of_faults.closing.wait(max(0.0, began + sent / answer.rate - time.monotonic()))

    def _drop(self, reset: bool) -> None:
        if reset:  # linger for 0 s: unsent bytes are discarded
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


def _next_stop(answer: Answer, sent: int, size: int) -> int:
    slice_ = SLICE if answer.rate is None else max(1, min(SLICE, int(answer.rate / 50)))
    stops = (sent + slice_, size, answer.drop_after, answer.stall_after)
    return min(stop for stop in stops if stop is not None and stop > sent)
