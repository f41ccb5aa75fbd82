"""The local server of a review: the page, its pictures, and one address for decisions.

It listens on 127.0.0.1 only. Every address begins with a random token. A request is refused if its `Host` is
another name (DNS rebinding), or if a decision comes from a page of another origin.
"""

import contextlib
import hmac
import json
import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tasks.core.addresses import is_readable
from tasks.core.errors import PlumblineError, UsageError
from tasks.core.review import page
from tasks.core.review.decisions import DecisionFiles, LabelDecision, controls_text, counts_text
from tasks.core.review.items import Item
from tasks.core.review.pictures import Pictures, with_partners

ADDRESS = "127.0.0.1"
HOSTS = ("127.0.0.1", "localhost")
MAX_BODY = 4096  # bytes of a request
SIDE = 1024  # pixels of a picture
KEPT = 64  # pictures in memory
IDLE = 60  # seconds until a connection is closed
POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """A request that is answered with an HTTP status."""

    def __init__(self, status: HTTPStatus, reason: str = "") -> None:
        super().__init__(reason or status.phrase)
        self.status = status


class Review:
    """The state of a review: images, decisions of this session, and the files that they are written to.

    Args:
        title: What is reviewed, such as "digits v0002".
        command: The command that trains with the decisions.
        items: The images, in the order in which they are shown.
        pictures: Their pictures.
        files: Where decisions are written.
        classes: The names of the classes.
        user: Who decides.
        show_predictions: Whether the page shows what the models say before there is an answer.
    """

    def __init__(
        self,
        title: str,
        command: str,
        items: Sequence[Item],
        pictures: Pictures,
        files: DecisionFiles,
        classes: Sequence[str],
        user: str,
        show_predictions: bool = False,
    ) -> None:
        self.title, self.command, self.items, self.pictures = title, command, items, pictures
        self.show_predictions = show_predictions
        self.files, self.classes, self.user = files, classes, user
        self.shown = with_partners(items)
        self.token = secrets.token_urlsafe(16)
        self.decisions: dict[int, tuple[str, str]] = {}
        self._encoded = OrderedDict[int, tuple[str, bytes]]()
        self._deciding, self._encoding = threading.Lock(), threading.Lock()

    def html(self) -> bytes:
        """The page, with the decisions of this session."""
        addresses = {item.key: f"picture/{number}" for number, item in enumerate(self.shown)}
        shown = page.content(self.title, self.classes, self.items, addresses, self.command)
        with self._deciding:
            decisions = [[number, *decision] for number, decision in self.decisions.items()]
        state = {"save": "decide", "user": self.user, "decisions": decisions, "file": str(self.files.path)}
        return page.render(shown | state | {"show_predictions": self.show_predictions}).encode()

    def picture(self, number: int) -> tuple[str, bytes]:
        """Media type and content of a picture."""
        with self._encoding:
            if number not in self._encoded:
                self._encoded[number] = self.pictures.encoded(self.shown[number], SIDE)
                if len(self._encoded) > KEPT:
                    self._encoded.popitem(last=False)
            return self._encoded[number]

    def summary(self) -> list[str]:
        """What is in the files, and the command that trains with it: lines of text."""
        with self._deciding:
            rows, new_labels = self.files.rows(), self.files.count_new_labels()
        if not any(row["decision"] for row in rows) and not new_labels:
            return ["no decision was made"]
        lines = [f"{counts_text(rows)} in {self.files.path}; train with them:", f"  {self.command}"]
        if new_labels:
            labels = f"{new_labels:,} new label{'' if new_labels == 1 else 's'}"
            lines.append(
                f"{labels} in {self.files.new_labels}: sort these files into the folders of their classes"
            )
        return [*lines, *filter(None, [controls_text(rows)])]

    def decide(self, body: bytes) -> None:
        """Write a decision, or remove it if it is empty.

        Args:
            body: JSON: item (its number), decision (empty to remove it), label (if it gives a class).

        Raises:
            Refused: It is no such JSON.
            PlumblineError, OSError: The file cannot be written.
        """
        item_number, decision, label = _parsed(body, len(self.items), len(self.classes))
        item = self.items[item_number]
        if decision and (decision is LabelDecision.labelled) == bool(item.image_id):
            raise Refused(HTTPStatus.BAD_REQUEST, "not a decision about this image")
        with self._deciding:
            if decision is None:
                self.files.forget(item)
                self.decisions.pop(item_number, None)
                return
            class_name = "" if label is None else self.classes[label]
            self.files.decide(item, decision, class_name, self.user)
            self.decisions.pop(item_number, None)  # the last decision comes last
            self.decisions[item_number] = (str(decision), class_name)


def open_server(review: Review, port: int | None) -> ThreadingHTTPServer:
    """The server, listening but not serving yet.

    Args:
        review: What it serves.
        port: The port; None takes a free one.

    Raises:
        UsageError: The port is not free.
    """
    handler = type("Handler", (_Handler,), {"review": review})
    try:
        server = _Server((ADDRESS, port or 0), handler)
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"port {port} cannot be used",
            expected="a free port from 1024 to 65535",
            found=str(error),
            todo="leave --port out to take a free one",
        ) from error
    return server


def address_of(server: ThreadingHTTPServer, review: Review) -> str:
    """The address of the page."""
    return f"http://{ADDRESS}:{server.server_address[1]}/{review.token}/"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # connections that wait to be accepted; the default 5 resets those of a page

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a browser that went away is no fault."""


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection; `review` is set by `open_server`."""

    review: Review
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "Plumbline", ""
    timeout = IDLE

    def do_GET(self) -> None:
        """The page or a picture."""
        with self._refusals():
            self._check_host()
            name = self._name()
            if name == "":
                self._answer(HTTPStatus.OK, "text/html; charset=utf-8", self.review.html())
                return
            folder, _, number = name.partition("/")
            if folder != "picture" or not number.isascii() or not number.isdecimal() or len(number) > 6:
                raise Refused(HTTPStatus.NOT_FOUND)
            if int(number) >= len(self.review.shown):
                raise Refused(HTTPStatus.NOT_FOUND)
            self._answer(HTTPStatus.OK, *self.review.picture(int(number)))

    def do_POST(self) -> None:
        """A decision."""
        with self._refusals():
            self._check_host()
            if self.headers.get("Origin") != f"http://{self.headers['Host']}":
                raise Refused(HTTPStatus.FORBIDDEN, "from another origin")
            if self._name() != "decide":
                raise Refused(HTTPStatus.NOT_FOUND)
            self.review.decide(self._body())
            self._answer(HTTPStatus.OK, "application/json", b"{}")

    def log_message(self, format: str, *values: Any) -> None:
        """Requests are not logged."""

    def _check_host(self) -> None:
        hosts = self.headers.get_all("Host") or []
        host = f"//{hosts[0]}" if len(hosts) == 1 else ""
        if not is_readable(host) or urlsplit(host).hostname not in HOSTS:
            raise Refused(HTTPStatus.FORBIDDEN, "for another host")

    def _name(self) -> str:
        """The part of the address after the token.

        Raises:
            Refused: The token is wrong.
        """
        token, slash, name = self.path.removeprefix("/").partition("/")
        if not slash or not hmac.compare_digest(token.encode(), self.review.token.encode()):
            raise Refused(HTTPStatus.NOT_FOUND)
        return name

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdecimal() or "Transfer-Encoding" in self.headers:
            raise Refused(HTTPStatus.LENGTH_REQUIRED)
        if len(length) > 9 or int(length) > MAX_BODY:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return self.rfile.read(int(length))

    def _refusals(self) -> "_Refusals":
        return _Refusals(self)

    def _answer(self, status: HTTPStatus, media_type: str, content: bytes) -> None:
        self.send_response(status)
        headers = HEADERS | {"Content-Type": media_type, "Content-Length": str(len(content))}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


class _Refusals(contextlib.AbstractContextManager[None]):
    """Turns errors of a request into answers."""

    def __init__(self, handler: _Handler) -> None:
        self.handler = handler

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> bool:
        if error is None:
            return False
        if isinstance(error, ConnectionError | TimeoutError):
            self.handler.close_connection = True
            return True
        if not isinstance(error, Exception):
            return False
        status = error.status if isinstance(error, Refused) else HTTPStatus.INTERNAL_SERVER_ERROR
        self.handler.close_connection = True  # a body may be left unread
        text = error.summary if isinstance(error, PlumblineError) else str(error)
        with contextlib.suppress(OSError):
            self.handler._answer(status, "text/plain; charset=utf-8", text.encode("utf-8", "replace"))
        return True


def _parsed(body: bytes, items: int, classes: int) -> tuple[int, LabelDecision | None, int | None]:
    """Item number, decision (None removes it) and label of a request."""
    try:
        values = json.loads(body)
        number, decision, label = (values[name] for name in ("item", "decision", "label"))
        parsed = LabelDecision(decision) if decision else None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Refused(HTTPStatus.BAD_REQUEST, "not a decision") from error
    gives_class = parsed in (LabelDecision.corrected, LabelDecision.labelled)
    is_valid = _is_number(number, items) and (_is_number(label, classes) if gives_class else label is None)
    if not is_valid:
        raise Refused(HTTPStatus.BAD_REQUEST, "not a decision about one of these images")
    return number, parsed, label


def _is_number(value: Any, count: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < count
