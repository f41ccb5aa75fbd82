"""The server under garbage: mutated requests, image bombs, slow clients, and new champions meanwhile."""

import io
import json
import random
import socket
import struct
import threading
import zlib
from collections import Counter
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tasks.core.serving.settings import Limits
from tasks.core.workspace import Workspace
from tests.support import served_versions
from tests.support.processes.waiting import wait_until
from tests.support.sample_files import encoded, noise

pytestmark = pytest.mark.stress
REQUESTS = 10_000
LIMITS = Limits(max_bytes=300_000, body_seconds=0.5, header_seconds=0.5)
CLIENTS = 8
GOOD = encoded(noise(0, 20, 20))
KNOWN = {200, 400, 404, 405, 408, 411, 413, 415, 422, 503}
SLOW_HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 5000\r\n\r\n"


def seeds() -> list[bytes]:
    """Whole requests, which are mutated."""
    image = Image.fromarray(noise(1, 30, 30))
    files = [encoded(image, name) for name in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")]
    bodies = [(f"image/{number}", content) for number, content in enumerate(files)]
    form = b'--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n' + GOOD + b"\r\n--b--\r\n"
    bodies.append(("multipart/form-data; boundary=b", form))
    bodies.append(("application/json", json.dumps({"images": ["iVBORw0KGgo=", "x"]}).encode()))
    head = "POST /v1/predict?nearest=1 HTTP/1.1\r\nHost: x\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n"
    return [head.format(kind, len(content)).encode() + content for kind, content in bodies]


def mutated(request: bytes, generator: random.Random) -> bytes:
    """A request with changed bytes: mostly in the body, whose length is then told as it is."""
    head, _, body = request.partition(b"\r\n\r\n")
    if generator.random() < 0.1:
        return _changed(request, generator)
    body = _changed(body, generator)
    head = head[: head.rindex(b" ") + 1] + str(len(body)).encode()
    return head + b"\r\n\r\n" + body


def _changed(content: bytes, generator: random.Random) -> bytes:
    """A few bytes are other ones, are left out, or come in between."""
    changed = bytearray(content)
    for _ in range(generator.randint(1, 12)):
        place = generator.randrange(len(changed))
        kind = generator.random()
        if kind < 0.6 or len(changed) < 100:
            changed[place] = generator.randrange(256)
        elif kind < 0.8:
            changed[place : place + generator.randint(1, 40)] = b""
        else:
            changed[place:place] = generator.randbytes(generator.randint(1, 40))
    return bytes(changed)


def answered(address: tuple[str, int], request: bytes) -> int:
    """The status of the answer; 0 if the server closed the connection without one."""
    with socket.create_connection(address, timeout=30) as connection:
        try:
            connection.sendall(request)
            received = connection.recv(64)
        except ConnectionError:
            return 0
    return int(received.split()[1]) if received.startswith(b"HTTP/1.1 ") else 0


def bombs() -> dict[str, bytes]:
    """Small files that would become large images."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10**6)))
    size = b"\xff\xff\xff\xff"
    gif = b"GIF89a" + size + bytes(3) + b"," + bytes(4) + size + b"\x00\x08\x01\x00\x00;"
    jpeg = bytearray(encoded(noise(0, 16, 16), "JPEG"))
    place = jpeg.index(b"\xff\xc0") + 5
    jpeg[place : place + 4] = size
    large = io.BytesIO()
    Image.new("L", (9000, 9000)).save(large, "png")
    return {"png": png, "gif": gif, "jpeg": bytes(jpeg), "large": large.getvalue()}


def test_garbage_bombs_slow_clients_and_new_champions(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path)
    tensors = served_versions.tensors(workspace)
    for number in (1, 2):
        served_versions.publish_version(workspace, tensors, f"v000{number}", seed=number)
    served_versions.promote(workspace, "v0001")
    statuses: Counter[int] = Counter()
    good: Counter[tuple[int, str]] = Counter()
    is_over = threading.Event()
    with served_versions.served(workspace, LIMITS) as (client, service):
        address = client.base_url.host, client.base_url.port
        assert address[1] is not None

        def send_garbage(seed: int) -> None:
            generator, whole = random.Random(seed), seeds()
            for _ in range(REQUESTS // CLIENTS):
                statuses[answered(address, mutated(generator.choice(whole), generator))] += 1

        def send_good() -> None:
            while not is_over.is_set():
                answer = client.post("/v1/predict", content=GOOD, headers={"Content-Type": "image/png"})
                good[answer.status_code, answer.json().get("version", "")] += 1

        def promote() -> None:
            number = 0
            while not is_over.wait(4):
                number += 1
                served_versions.promote(workspace, f"v000{1 + number % 2}")

        beside = [threading.Thread(target=work) for work in (send_good, promote)]
        garbage = [threading.Thread(target=send_garbage, args=(seed,)) for seed in range(CLIENTS)]
        slow = [socket.create_connection(address) for _ in range(20)]
        for number, connection in enumerate(slow):
            connection.sendall(SLOW_HEAD if number % 2 else SLOW_HEAD[:30])
        for thread in (*beside, *garbage):
            thread.start()
        for name, content in bombs().items():
            answer = httpx.post(
                f"{client.base_url}/v1/predict", content=content, headers={"Content-Type": "image/x"}
            )
            assert answer.status_code == 413, (name, answer.text)
        for thread in garbage:
            thread.join()
        is_over.set()
        for thread in beside:
            thread.join()
        ends = [connection.recv(100)[:12] for connection in slow]
        wait_until(lambda: (service.admission.requests, service.admission.bytes) == (0, 0))
        assert client.get("/health").json()["status"] == "ok"
        swaps = service.followed.swaps
    print(dict(statuses), dict(good), swaps)
    assert set(statuses) - {0} <= KNOWN, statuses
    assert (
        statuses[0] < REQUESTS / 10
    )  # a header that is cut off, and the end of the connection, have no answer
    assert {status for status, _ in good} == {200}
    assert {version for _, version in good} == {"v0001", "v0002"}
    assert swaps >= 2
    assert statuses[422] > REQUESTS / 10
    assert ends == [b"HTTP/1.1 408" if number % 2 else b"" for number in range(20)]
