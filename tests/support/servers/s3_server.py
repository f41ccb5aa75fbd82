"""A real S3 server on the loopback (moto) that counts its requests and can be made to fail or to hang.

moto checks a condition and writes in two steps, so that two conditional writes at once may both succeed, and
a listing during a deletion may fail. S3 does each in one step. Therefore this server carries out one request
after the other. A request whose body is cut off is answered 400 and changes nothing, as on S3.
"""

import io
import json
import logging
import re
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import PurePosixPath
from time import sleep
from typing import Any

NAME = "plumb"
PREFIX = "team/ws"
ADDRESS = f"s3://{NAME}/{PREFIX}"
PROGRESS = 1 << 16  # bytes of an upload read at a time


logging.getLogger("werkzeug").setLevel(logging.ERROR)


class Bucket:
    """An S3 server with one bucket.

    Attributes:
        requests: (method, name of the object relative to the workspace) of every request, in order.
        received, sent: Bytes of the objects' content in requests and answers.
        gate: Called with method and name before a request is carried out; it may block. If it returns False,
            the request is not carried out and the answer is `refusal`.
        refusal: Status of that answer.
        losing: Names of objects whose next answer is lost: the request is carried out and answered 503.
        conditional: Whether conditions of requests are obeyed; older S3-compatible stores ignore them.
        pause: Seconds to wait after each 64 KiB of an upload.
    """

    def __init__(self) -> None:
        # 1 s, which a test that does not start the server need not pay.
        import boto3
        from moto.moto_server import werkzeug_app
        from werkzeug.serving import make_server

        self.requests: list[tuple[str, str]] = []
        self.received = 0
        self.sent = 0
        self.gate: Callable[[str, str], bool]
        self.refusal: str
        self._working = threading.Lock()
        self._app = werkzeug_app.DomainDispatcherApplication(werkzeug_app.create_backend_app)
        self._server = make_server(
            "127.0.0.1", 0, self._serve, threaded=True, request_handler=werkzeug_app.MotoRequestHandler
        )
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.client = boto3.client("s3", endpoint_url=self.endpoint, **_credentials())
        self.reset()

    def reset(self) -> None:
        """Empty the bucket, end all faults and set the counts to 0."""
        self.gate = lambda *_: True
        self.refusal = "503 Service Unavailable"
        self.losing: set[str] = set()
        self.conditional = True
        self.pause = 0.0
        self._post("/moto-api/reset")
        self.client.create_bucket(Bucket=NAME)
        self.forget()

    def _post(self, path: str) -> None:
        urllib.request.urlopen(urllib.request.Request(self.endpoint + path, method="POST"), timeout=30)

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that lead an S3 client to this server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()

    def forget(self) -> None:
        """Set the counts to 0."""
        self.requests, self.received, self.sent = [], 0, 0

    def count(self, method: str, pattern: str = "") -> int:
        """Returns the number of requests of a method whose object name matches the pattern."""
        matching = [name for verb, name in self.requests if verb == method and re.search(pattern, name)]
        return len(matching)

    def methods(self) -> Counter[str]:
        """Returns the number of requests of each method."""
        return Counter(method for method, _ in self.requests)

    def objects(self) -> dict[str, bytes]:
        """Returns the content of every object of the workspace by name."""
        contents = {}
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=NAME, Prefix=PREFIX):
            for entry in page.get("Contents", []):
                body = self.client.get_object(Bucket=NAME, Key=entry["Key"])["Body"].read()
                contents[entry["Key"].removeprefix(f"{PREFIX}/")] = body
        return contents

    def _serve(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        name = path.removeprefix(f"/{NAME}").removeprefix(f"/{PREFIX}").lstrip("/")
        self.requests.append((method, name))
        if not self.gate(method, name):
            return _answer(start, self.refusal)
        if method in ("PUT", "POST", "DELETE"):
            length = int(environ.get("CONTENT_LENGTH") or 0)
            body = self._read(environ["wsgi.input"], length)
            if len(body) < length:
                return _answer(start, "400 Bad Request")
            environ["wsgi.input"] = io.BytesIO(body)
            if not self.conditional:
                environ.pop("HTTP_IF_NONE_MATCH", None)
            with self._working:
                answer = list(self._app(environ, (lambda *_: None) if name in self.losing else start))
            if name in self.losing:
                self.losing.remove(name)
                return _answer(start, "503 Service Unavailable")
            return answer
        with self._working:
            chunks = list(self._app(environ, start))
        self.sent += sum(map(len, chunks))
        return chunks

    def _read(self, stream: Any, length: int) -> bytes:
        body = bytearray()
        while len(body) < length:
            try:
                chunk = stream.read(min(PROGRESS, length - len(body)))
            except OSError:
                break
            if not chunk:
                break
            body += chunk
            sleep(self.pause)
            self.received += len(chunk)
        return bytes(body)


def half_visible(objects: Mapping[str, bytes]) -> list[str]:
    """Returns the files that a manifest names and that are missing or have another SHA-256.

    The check reads only the objects' names and bytes, and shares no code with what wrote them.
    """
    problems = []
    for name, manifest in objects.items():
        if not name.endswith("/manifest.json"):
            continue
        directory = str(PurePosixPath(name).parent)
        files = json.loads(manifest)["files"]
        hashes = {file: entry["sha256"] for file, entry in files.items()}
        text = json.dumps(hashes, sort_keys=True, separators=(",", ":"))
        content_digest = sha256(text.encode()).hexdigest()[:16]
        for file, entry in files.items():
            content = objects.get(f"{directory}/{content_digest}/{file}")
            if content is None or sha256(content).hexdigest() != entry["sha256"]:
                problems.append(f"{directory}: {file}")
    return problems


def _answer(start: Callable[..., Any], status: str) -> list[bytes]:
    start(status, [("Content-Length", "0"), ("Connection", "close")])
    return [b""]


def _credentials() -> dict[str, str]:
    return {
        "aws_access_key_id": "test",
        "aws_secret_access_key": "test",
        "region_name": "us-east-1",
    }
