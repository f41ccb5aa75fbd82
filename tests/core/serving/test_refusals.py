"""Requests that are refused: bodies, slow and full, other hosts, files that are none of the pages'."""

import base64
import gzip
import json
import socket
import time

import httpx
import pytest

from tasks.core.serving import http_server
from tasks.core.workspace import Workspace
from tests.core.serving.conftest import LIMITS, PNG, Served
from tests.support.sample_files import encoded, noise

pytestmark = pytest.mark.slow


BOMB = b"P6 400 400 255\n" + bytes(10)


def form(parameter: str, content: str = "x") -> bytes:
    """A form with one file, whose name is given by a parameter."""
    return f"--b\r\nContent-Disposition: form-data; {parameter}\r\n\r\n{content}\r\n--b--".encode()


def encoded_part(encoding: str, content: str) -> bytes:
    """A form with one file in an encoding of MIME."""
    return form(f"filename=a.png\r\nContent-Transfer-Encoding: {encoding}", content)


@pytest.mark.parametrize(
    ("content", "content_type", "status", "words"),
    [
        (b"x" * 200_001, "image/png", 413, "200,000 bytes"),
        (BOMB, "image/x-portable-pixmap", 413, "400x400 pixels, the limit is 100,000"),
        (b"no image", "image/png", 422, "not an image"),
        (b"", "image/png", 422, "empty file"),
        (encoded(noise(0, 8, 8))[:60], "image/png", 422, "broken"),
        (b"x", "text/html", 415, "text/html"),
        (b"x", "", 415, "no Content-Type"),
        (b"{", "application/json", 400, "no JSON"),
        (b"[" * 100_000, "application/json", 400, "no JSON"),
        (b'{"images": [1]}', "application/json", 400, "base64"),
        (b'{"images": []}', "application/json", 400, "no image"),
        (b'{"images": ["?"]}', "application/json", 422, "not base64"),
        (json.dumps({"images": [""] * 9}).encode(), "application/json", 413, "9 images"),
        (b"x", "multipart/form-data", 400, "boundary"),
        (b"--b\r\n\r\n", "multipart/form-data; boundary=b", 400, "last boundary"),
        (b"--b\r\n" * 30_000, "multipart/form-data; boundary=b", 400, "too many parts"),
        (b"--b\r\nx\r\n--b--", "multipart/form-data; boundary=b", 400, "no header"),
        (b"x", "multipart/form-data; boundary*; boundary*0*", 400, "boundary"),
        (form("filename*; filename*1*"), "multipart/form-data; boundary=b", 400, "cannot be read"),
        (form("filename*=idna''%ff"), "multipart/form-data; boundary=b", 400, "cannot be read"),
        (form("filename*=unicode_escape''\\ud800"), "multipart/form-data; boundary=b", 422, "not an image"),
        (form("name=file"), "multipart/form-data; boundary=b", 400, "a part of a form needs a filename"),
        (encoded_part("BASE64", "?"), "multipart/form-data; boundary=b", 422, "not base64"),
        (encoded_part("x-gzip", "x"), "multipart/form-data; boundary=b", 400, "base64; found x-gzip"),
        (b"x" * 60_000_000, "image/png", 413, "200,000 bytes"),
    ],
)
def test_bad_request_has_its_status_and_reason(
    server: Served, content: bytes, content_type: str, status: int, words: str
) -> None:
    answer = server[0].post("/v1/predict", content=content, headers={"Content-Type": content_type})
    assert (answer.status_code, words in answer.json()["error"]) == (status, True), answer.text


def test_compressed_body_is_refused_as_such(server: Served) -> None:
    content = gzip.compress(encoded(noise(0, 8, 8)))
    answer = server[0].post("/v1/predict", content=content, headers={**PNG, "Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["error"][-4:]) == (415, "gzip")


def raw_request(server: Served, head: str, body: bytes = b"") -> bytes:
    """Send bytes and read until the server closes."""
    address = server[0].base_url.host, server[0].base_url.port
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(head.encode() + body)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    return received


def test_part_of_a_form_may_be_base64(server: Served) -> None:
    png = encoded(noise(0, 8, 8))
    body = encoded_part("base64", base64.encodebytes(png).decode())
    answers = [
        server[0].post("/v1/predict", content=content, headers={"Content-Type": content_type}).json()
        for content, content_type in ((body, "multipart/form-data; boundary=b"), (png, "image/png"))
    ]
    in_form, raw = (answer["predictions"][0] for answer in answers)
    assert in_form == {**raw, "name": "a.png"}


@pytest.mark.parametrize(
    ("sent", "status", "found"),
    [
        ("hello\r\n\r\n", 400, "illegal request line"),
        ("\x16\x03\x01\x02\x00\x01", 400, "illegal request line"),  # the begin of TLS
        ("GET / HTTP/1.1\r\n\r\n", 400, "Missing mandatory Host: header"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400, "bad Content-Length"),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "chunked is supported"),
        (f"GET /{'a' * 65_532}", 431, "Receive buffer too long"),
        (
            "POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
            "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
            400,
            "illegal chunk header",
        ),
    ],
)
def test_what_is_not_http_is_refused_in_the_form_of_all_errors(
    server: Served, sent: str, status: int, found: str
) -> None:
    head, body = raw_request(server, sent).split(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"content-type: application/json" in head
    assert found in json.loads(body)["error"]
    assert "expected a request of HTTP/1.1" in json.loads(body)["error"]


def test_slow_body_gets_408_and_slow_header_is_closed(server: Served) -> None:
    head = "POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 100\r\n\r\n"
    received = raw_request(server, head, b"12345")
    assert received.startswith(b"HTTP/1.1 408")
    assert b"did not arrive within 0.3 s" in received
    assert raw_request(server, "GET / HTT") == b""
    assert server[0].get("/health").json()["requests_in_progress"] == 0


def test_full_queue_gets_503_and_a_time_to_retry(server: Served) -> None:
    head = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\n1"
    address = server[0].base_url.host, server[0].base_url.port
    slow = [socket.create_connection(address) for _ in range(LIMITS.queue)]
    for connection in slow:
        connection.sendall(head)
    deadline = time.monotonic() + 0.25
    while server[1].admission.requests < LIMITS.queue and time.monotonic() < deadline:
        time.sleep(0.005)
    answer = server[0].post("/v1/predict", content=encoded(noise(0, 8, 8)), headers=PNG)
    for connection in slow:
        connection.close()
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    "address",
    [
        "/static/base.html.j2",
        "/static/..%2F__init__.py",
        "/workspace/reports/abc/report.html",
        "/workspace/reports/..%2Fmodels/report.html",
        "/workspace/reports/%2e%2e/report.html",
        "/workspace/reports/abc/..%2F..%2Fmodels%2Fanimals%2Faliases.json",
    ],
)
def test_other_files_are_not_served(server: Served, address: str) -> None:
    assert server[0].get(address).status_code == 404


@pytest.mark.parametrize(
    ("method", "address", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/training-images/v0001/first.png", 404),
        ("GET", "/static/base.html.j2", 404),
        ("GET", f"/{'a' * 9999}", 404),
        ("DELETE", "/v1/predict", 405),
    ],
)
def test_errors_of_addresses_have_the_form_of_all_errors(
    server: Served, method: str, address: str, status: int
) -> None:
    answer = server[0].request(method, address)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert len(answer.text) < 160
    assert status == 404 or answer.json()["error"] == "/v1/predict takes POST, not DELETE"
    assert "allow" not in answer.headers or answer.headers["allow"] == "POST"


def test_schema_names_one_form_of_errors(server: Served) -> None:
    schema = server[0].get("/openapi.json").json()
    assert list(schema["components"]["schemas"]) == ["Error"]
    answers = schema["paths"]["/v1/predict"]["post"]["responses"]
    assert answers["4XX"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}


def test_other_hosts_and_origins_are_refused(workspace: Workspace, server: Served) -> None:
    guard = http_server.Guard(None, http_server.hosts_of("127.0.0.1", ["model.example"]))
    headers = httpx.Headers
    assert not guard._refusal("GET", headers({"host": "127.0.0.1:8000"}))
    assert not guard._refusal("GET", headers({"host": "model.example"}))
    assert guard._refusal("GET", headers({"host": "evil.example:8000"}))
    assert guard._refusal("GET", headers({"host": "[x"}))
    assert guard._refusal("POST", headers({"host": "model.example", "origin": "http://[x"}))
    assert http_server.hosts_of("0.0.0.0", None) == frozenset()
    answer = server[0].post("/v1/predict", content=b"", headers={**PNG, "Origin": "http://evil.example"})
    assert answer.status_code == 403
