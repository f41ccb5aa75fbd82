"""What an address has of secrets reaches the server, and nothing else."""

import base64
import io
import logging
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tasks.core.config import SourceSettings
from tasks.core.data.inference import inputs
from tasks.core.data.sources.acquire import acquire
from tasks.core.errors import PlumblineError
from tasks.core.workspace import Workspace
from tests.support.sample_files import encoded, noise

SECRETS = ("hunter22", "TOKEN-of-the-day", "TOKEN-of-tomorrow")
LOGIN = "Basic " + base64.b64encode(b"ann:hunter22").decode()


@dataclass
class Guarded:
    """A server that gives one file to whoever knows the password and has a signature, by GET only."""

    content: bytes
    gets: list[str] = field(default_factory=list)

    def start(self) -> int:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.send_error(403)  # as an object store does whose signature is for GET

            def do_GET(self) -> None:
                owner.gets.append(self.path)
                if self.headers.get("Authorization") != LOGIN or "sig=TOKEN" not in self.path:
                    self.send_error(401)
                    return
                self.send_response(200)
                self.send_header("ETag", '"1"')
                self.send_header("Content-Length", str(len(owner.content)))
                self.end_headers()
                self.wfile.write(owner.content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return int(self.server.server_address[1])


def pets() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(8):
            archive.writestr(f"{('cat', 'dog')[number % 2]}/{number}.png", encoded(noise(number)))
    return buffer.getvalue()


@pytest.fixture
def guarded() -> Iterator[tuple[Guarded, str]]:
    server = Guarded(pets())
    port = server.start()
    yield server, f"http://ann:hunter22@127.0.0.1:{port}/{{}}?sig={{}}&X-Amz-Padding={'0' * 300}"
    server.server.shutdown()


def assert_no_secret(text: str, root: Path) -> None:
    assert not [secret for secret in SECRETS if secret in text]
    for path in root.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not [s for s in SECRETS if s.encode() in content or s in str(path)], path


def test_secrets_reach_no_file_no_log_and_a_new_signature_is_the_same_dataset(
    guarded: tuple[Guarded, str], workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    server, address = guarded
    caplog.set_level(logging.DEBUG)
    source = SourceSettings(dataset=address.format("pets.zip", SECRETS[1]))
    raw = acquire(source, workspace)
    assert (raw.dataset, raw.images) == ("pets", 8)
    copies = sum(str(path).endswith("pets.zip") for path in workspace.downloads.rglob("*"))
    whole = len(server.gets)
    again = acquire(SourceSettings(dataset=address.format("pets.zip", SECRETS[2])), workspace)
    assert again == raw
    assert copies == 1
    assert len(server.gets) - whole == 1  # only its headers: the copy is current
    assert_no_secret(caplog.text + repr(source) + repr(raw), workspace.root)


@pytest.mark.parametrize("name", ["pets.exe", "gone.zip"])
def test_errors_name_the_address_without_secrets(
    guarded: tuple[Guarded, str], workspace: Workspace, name: str
) -> None:
    _, address = guarded
    wrong = address.replace("sig=", "signature=").format(name, SECRETS[1])
    with pytest.raises(PlumblineError) as error:
        acquire(SourceSettings(dataset=wrong), workspace)
    assert name in str(error.value)
    assert_no_secret(str(error.value) + repr(error.value.__cause__), workspace.root)


def test_broken_connection_shows_no_secret(workspace: Workspace) -> None:
    source = SourceSettings(dataset=f"http://ann:hunter22@127.0.0.1:9/pets.zip?sig={SECRETS[1]}")
    with pytest.raises(PlumblineError, match="could not be read") as error:
        acquire(source, workspace)
    assert_no_secret(str(error.value) + repr(error.value.__cause__), workspace.root)


def test_images_to_predict_are_named_without_secrets(guarded: tuple[Guarded, str]) -> None:
    server, address = guarded
    server.content = encoded(noise(1))
    (chunk,) = inputs.list_inputs([address.format("cat.png", SECRETS[1])])
    assert_no_secret(chunk.path, Path("/nonexistent"))
    (later,) = inputs.list_inputs([address.format("cat.png", SECRETS[2])])
    assert later.key == chunk.key
