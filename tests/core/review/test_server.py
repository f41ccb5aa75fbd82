"""The local server by HTTP, as a browser, another site or a broken program would talk to it."""

import contextlib
import http.client
import json
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tasks.core.data.readers import corrections_file
from tasks.core.data.readers.corrections_file import Correction
from tasks.core.errors import UsageError
from tasks.core.review import server
from tasks.core.review.decisions import DecisionFiles
from tasks.core.review.items import CONTROL, LABEL_NEXT, Item, ReviewInputs, choose
from tasks.core.review.pictures import Pictures
from tasks.core.review.server import Review

NASTY = ("</script><script>alert(1)</script>", "a \"b\" 'c' & $HOME", "猫", "dog")


@dataclass
class Client:
    """A review that is being served.

    Args:
        review: The review.
        address: The address of its page.
    """

    review: Review
    address: str

    @property
    def host(self) -> str:
        return urlsplit(self.address).netloc

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.host, timeout=20)
        connection.request(
            method, path, body, {name.replace("_", "-"): text for name, text in headers.items()}
        )
        answer = connection.getresponse()
        return answer.status, answer.read()

    def get(self, name: str = "", **headers: str) -> tuple[int, bytes]:
        return self.request("GET", f"/{self.review.token}/{name}", **headers)

    def post(self, body: object, **headers: str) -> int:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Origin": f"http://{self.host}"} | headers
        return self.request("POST", f"/{self.review.token}/decide", content, **headers)[0]

    def decide(self, item: int, decision: str, label: int | None = None) -> int:
        return self.post({"item": item, "decision": decision, "label": label})

    def page(self) -> dict:
        (text,) = re.findall(r'id="data">(.*)</script>', self.get()[1].decode())
        return json.loads(text)


@pytest.fixture
def client(fake, tmp_path: Path) -> Iterator[Client]:
    fake = fake.with_fields(classes=NASTY, images=40)
    tensors = fake.tensors()
    items = choose(ReviewInputs(tensors, {"v0001": fake.evaluation("one", 1.0)}), most=12)
    items.append(Item("", str(tmp_path / "gone.png"), "", (LABEL_NEXT,)))
    files = DecisionFiles(tmp_path / "corrections.csv")
    review = Review("animals v0001", "train me", items, Pictures(items, tensors, None), files, NASTY, "ann")
    listening = server.open_server(review, None)
    thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
    thread.start()
    yield Client(review, server.address_of(listening, review))
    listening.shutdown()
    thread.join()
    listening.server_close()


def test_page_escapes_names_and_has_every_image(client: Client) -> None:
    status, text = client.get()
    assert status == 200
    assert text.decode().count("<script") == 2  # the data, and the program
    page = client.page()
    assert page["classes"] == list(NASTY)
    assert page["command"] == "train me"
    for number, item in enumerate(page["items"]):
        assert item["picture"] == f"picture/{number}"
        assert client.get(item["picture"])[1][1:4] == b"PNG"


def test_answers_are_saved_at_once_and_come_back_after_a_reload(client: Client) -> None:
    items = client.review.items
    other = (NASTY.index(items[0].class_name) + 1) % len(NASTY)
    assert client.decide(0, "corrected", other) == 200
    assert corrections_file.read(client.review.files.path) == (
        Correction(items[0].image_id, "", NASTY[other]),
    )
    assert client.decide(1, "kept") == 200
    assert client.decide(2, "left out") == 200
    assert client.decide(len(items) - 1, "labelled", 2) == 200
    assert client.page()["decisions"] == [
        [0, "corrected", NASTY[other]],
        [1, "kept", ""],
        [2, "left out", ""],
        [len(items) - 1, "labelled", NASTY[2]],
    ]
    assert client.decide(0, "") == 200
    assert corrections_file.read(client.review.files.path) == (Correction(items[2].image_id, "", ""),)
    summary = client.review.summary()
    assert summary[0].startswith("0 corrections, 1 kept, 1 left out in ")
    assert summary[1] == "  train me"
    assert "1 new label in" in summary[2]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        *((body, 400) for body in (b"", b"{", b"[]", b"1", b"[" * 4000, b"\xff\xfe", b"null")),
        ({"item": 999, "decision": "kept", "label": None}, 400),
        ({"item": -1, "decision": "kept", "label": None}, 400),
        ({"item": True, "decision": "kept", "label": None}, 400),
        ({"item": 0, "decision": "burnt", "label": None}, 400),
        ({"item": 0, "decision": ["kept"], "label": None}, 400),
        ({"item": 0, "decision": "corrected", "label": 4}, 400),
        ({"item": 0, "decision": "corrected", "label": None}, 400),
        ({"item": 0, "decision": "labelled", "label": 1}, 400),
        (b" " * 5000, 413),
    ],
)
def test_bad_decisions_are_refused_and_nothing_is_written(client: Client, body: object, status: int) -> None:
    assert client.post(body) == status
    assert not client.review.files.path.exists()
    assert client.decide(0, "kept") == 200


def test_other_sites_and_other_names_of_the_machine_are_refused(client: Client) -> None:
    good = {"item": 0, "decision": "kept", "label": None}
    assert client.post(good, Origin="http://evil.example") == 403
    assert client.post(good, Origin="null") == 403
    assert client.request("POST", f"/{client.review.token}/decide", b"{}")[0] == 403  # no origin at all
    for host in ("evil.example", f"evil.example:{urlsplit(client.address).port}", "127.0.0.1.evil.example"):
        assert client.get(Host=host)[0] == 403
        assert client.post(good, Host=host, Origin=f"http://{host}") == 403
    assert client.get(Host="localhost:1234")[0] == 200  # as through a tunnel
    for path in ("/", "/favicon.ico", "/wrong/", f"/{client.review.token}", "/../../etc/passwd"):
        assert client.request("GET", path)[0] == 404
    for name in ("picture/", "picture/9999", "picture/-1", "picture/1/2", "decide", "../x"):
        assert client.get(name)[0] == 404
    assert not client.review.files.path.exists()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /\xc3\xa9/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /TOKEN/picture/\xb2 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /TOKEN/ HTTP/1.1\r\nHost: [::1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"BREW /x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"POST /TOKEN/decide HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n\r\n",
        b"POST /TOKEN/decide HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n"
        b"Content-Length: 999999999999\r\n\r\n",
        b"POST /TOKEN/decide HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ],
)
def test_garbage_gets_a_short_answer_without_a_traceback(
    client: Client, request_bytes: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    parts = urlsplit(client.address)
    with socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=20) as connection:
        connection.sendall(request_bytes.replace(b"TOKEN", client.review.token.encode()))
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65536)
    assert b" 200 " not in answer.splitlines()[0]
    assert b"Traceback" not in answer
    assert client.get()[0] == 200
    assert capfd.readouterr().err == ""


def test_a_file_that_cannot_be_written_is_told_and_kept_as_it_was(client: Client) -> None:
    client.review.files.path.mkdir()
    status, text = client.request(
        "POST",
        f"/{client.review.token}/decide",
        b'{"item": 0, "decision": "kept", "label": null}',
        Origin=f"http://{client.host}",
    )
    assert status == 500
    assert b"corrections.csv" in text
    assert client.page()["decisions"] == []


def test_answers_carry_headers_that_keep_other_pages_out(client: Client) -> None:
    connection = http.client.HTTPConnection(client.host, timeout=20)
    connection.request("GET", f"/{client.review.token}/")
    headers = connection.getresponse().headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Access-Control-Allow-Origin" not in headers
    assert "Python" not in headers["Server"]


def test_a_port_in_use_is_one_clear_error(client: Client) -> None:
    for port in (urlsplit(client.address).port, 99999):
        with pytest.raises(UsageError, match=f"port {port} cannot be used"):
            server.open_server(client.review, port)


def test_many_connections_at_once_wait_for_their_turn(client: Client) -> None:
    with server.open_server(client.review, None) as listening, contextlib.ExitStack() as opened:
        for _ in range(50):  # nobody accepts them yet
            opened.enter_context(socket.create_connection(listening.server_address[:2], timeout=0.5))


def test_it_listens_on_this_machine_only(client: Client) -> None:
    assert urlsplit(client.address).hostname == "127.0.0.1"
    assert CONTROL not in client.address
