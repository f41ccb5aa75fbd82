"""Downloads from a local server with faults; the retry policy has short times to keep the tests quick."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tasks.core.data.sources import download
from tasks.core.data.sources.catalog import RemoteFile
from tasks.core.data.sources.http import RetryPolicy
from tasks.core.data.sources.partial_file import Partial
from tasks.core.errors import ChecksumError, DataError, NetworkError
from tests.support.servers.faulty_server import GOOD, Answer, FaultyServer

CONTENT = np.random.default_rng(0).bytes(300_000)
RETRY_POLICY = RetryPolicy(
    read_timeout=1.0,
    slow_rate=500e3,
    slow_seconds=0.15,
    dead_rate=2e3,
    tries=3,
    min_progress=1024,
    backoff=0.01,
)


@pytest.fixture
def server():
    with FaultyServer(CONTENT) as running:
        yield running


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "downloads" / "sha" / "file.bin"


def fetch(file: RemoteFile, destination: Path) -> int:
    return download.fetch(file, destination, retry_policy=RETRY_POLICY)


def leftovers(destination: Path) -> list[str]:
    return sorted(path.name for path in destination.parent.iterdir() if path != destination)


def test_fetch_good_address_gets_one_request(server: FaultyServer, destination: Path) -> None:
    file = server.file(server.address())
    assert fetch(file, destination) == len(CONTENT)
    assert destination.read_bytes() == CONTENT
    assert fetch(file, destination) == 0
    assert len(server.requests) == 1
    assert leftovers(destination) == []


@pytest.mark.parametrize("reset", [False, True])
def test_fetch_lost_connections_at_every_tenth_cost_below_30_percent(
    server: FaultyServer, destination: Path, reset: bool
) -> None:
    url = server.address(Answer(drop_after=len(CONTENT) // 10, reset=reset))
    received = fetch(server.file(url), destination)
    assert destination.read_bytes() == CONTENT
    assert received / len(CONTENT) <= 1.3
    assert server.sent / len(CONTENT) <= 1.3
    assert len(server.requests_to(url)) >= 10


def test_fetch_truncated_response_without_length_resumes(server: FaultyServer, destination: Path) -> None:
    url = server.address(Answer(announce=0, drop_after=100_000), GOOD)
    assert fetch(server.file(url), destination) == len(CONTENT)
    assert [request.start for request in server.requests_to(url)] == [0, 100_000]


def test_fetch_stalled_connection_resumes(server: FaultyServer, destination: Path) -> None:
    url = server.address(Answer(stall_after=100_000), GOOD)
    assert fetch(server.file(url), destination) == len(CONTENT)
    assert destination.read_bytes() == CONTENT


def test_fetch_slow_host_is_left_and_the_next_resumes(server: FaultyServer, destination: Path) -> None:
    slow, quick = server.address(Answer(rate=100e3)), server.address()
    fetch(server.file(slow, quick), destination)
    assert destination.read_bytes() == CONTENT
    assert len(server.requests_to(slow)) == 1
    (request,) = server.requests_to(quick)
    assert 0 < request.start < len(CONTENT)


def test_fetch_slow_host_is_used_when_the_others_fail(server: FaultyServer, destination: Path) -> None:
    slow, broken = server.address(Answer(rate=200e3)), server.address(Answer(status=500))
    fetch(server.file(slow, broken), destination)
    assert destination.read_bytes() == CONTENT
    assert len(server.requests_to(slow)) == 2
    assert len(server.requests_to(broken)) == RETRY_POLICY.tries


def test_fetch_only_address_may_be_slow(server: FaultyServer, destination: Path) -> None:
    slow, gone = server.address(Answer(rate=300e3)), server.address(Answer(status=404))
    fetch(server.file(gone, slow), destination)
    assert destination.read_bytes() == CONTENT
    assert len(server.requests_to(slow)) == 1


def test_fetch_dead_only_address_raises(server: FaultyServer, destination: Path) -> None:
    with pytest.raises(NetworkError, match="bytes per second"):
        fetch(server.file(server.address(Answer(rate=1e3))), destination)


def test_fetch_wrong_file_is_not_requested_again(server: FaultyServer, destination: Path) -> None:
    wrong, good = server.address(Answer(wrong=True)), server.address()
    fetch(server.file(wrong, good), destination)
    assert destination.read_bytes() == CONTENT
    assert len(server.requests_to(wrong)) == 1


def test_fetch_wrong_file_is_remembered_by_the_next_attempt(server: FaultyServer, destination: Path) -> None:
    wrong, broken = server.address(Answer(wrong=True)), server.address(*[Answer(status=503)] * 6, GOOD)
    with pytest.raises(NetworkError, match="the next attempt resumes"):
        fetch(server.file(wrong, broken), destination)
    fetch(server.file(wrong, broken), destination)
    assert destination.read_bytes() == CONTENT
    assert len(server.requests_to(wrong)) == 1


def test_fetch_wrong_bytes_everywhere_raise_checksum_error(server: FaultyServer, destination: Path) -> None:
    file = server.file(server.address(Answer(wrong=True)), server.address(Answer(status=404)))
    with pytest.raises(ChecksumError) as caught:
        fetch(file, destination)
    assert file.sha256 in caught.value.parts["expected"]
    assert "HTTP 404" in caught.value.parts["found"]
    assert not destination.exists()
    assert leftovers(destination) == []


def test_fetch_mixed_bytes_are_downloaded_from_one_address(server: FaultyServer, destination: Path) -> None:
    wrong = server.address(Answer(wrong=True, drop_after=100_000), Answer(status=500))
    good = server.address(GOOD)
    fetch(server.file(wrong, good), destination)
    assert destination.read_bytes() == CONTENT


def test_partial_file_single_source_is_kept_for_the_next_process(destination: Path) -> None:
    file = RemoteFile("file.bin", ("http://127.0.0.1:9/file.bin",), len(CONTENT), "0" * 64)
    partial = Partial.open(file, destination)
    partial.single_source = True
    partial.save()
    assert Partial.open(file, destination).single_source


def test_fetch_host_that_ignores_ranges_keeps_the_partial_file(
    server: FaultyServer, destination: Path
) -> None:
    dropping = server.address(Answer(drop_after=200_000), Answer(status=404))
    no_ranges = server.address(Answer(ranges=False, drop_after=250_000), Answer(ranges=False))
    fetch(server.file(dropping, no_ranges), destination)
    assert destination.read_bytes() == CONTENT
    assert len(server.requests_to(no_ranges)) == 2


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_fetch_missing_file_is_not_requested_again(
    server: FaultyServer, destination: Path, status: int
) -> None:
    gone = server.address(Answer(status=status))
    with pytest.raises(DataError, match="No address has file") as caught:
        fetch(server.file(gone), destination)
    assert not isinstance(caught.value, ChecksumError)
    assert len(server.requests_to(gone)) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_fetch_failing_server_is_retried(server: FaultyServer, destination: Path, status: int) -> None:
    url = server.address(Answer(status=status), Answer(status=status), GOOD)
    fetch(server.file(url), destination)
    assert len(server.requests_to(url)) == 3


@pytest.mark.parametrize("announced", [len(CONTENT) - 1, len(CONTENT) + 1, 5])
def test_fetch_other_announced_size_raises_checksum_error(
    server: FaultyServer, destination: Path, announced: int
) -> None:
    other = server.address(Answer(announce=announced))
    with pytest.raises(ChecksumError, match=f"{announced:,} bytes"):
        fetch(server.file(other), destination)
    assert len(server.requests_to(other)) == 1


def test_fetch_too_many_bytes_raise_checksum_error(destination: Path) -> None:
    with FaultyServer(CONTENT + b"more") as server:
        file = RemoteFile(
            "file.bin",
            (server.address(Answer(announce=0)),),
            len(CONTENT),
            hashlib.sha256(CONTENT).hexdigest(),
        )
        with pytest.raises(ChecksumError, match="more than 300000 bytes"):
            fetch(file, destination)


def test_fetch_redirects_are_followed_unless_circular(server: FaultyServer, destination: Path) -> None:
    target = server.address()
    circular = server.address()
    path = circular.removeprefix(server.url(""))
    server.answers[path] = (Answer(to=path),)
    redirected = server.address(Answer(to=target.removeprefix(server.url(""))))
    fetch(server.file(circular, redirected), destination)
    assert destination.read_bytes() == CONTENT


def test_fetch_unreachable_host_raises_network_error(server: FaultyServer, destination: Path) -> None:
    with pytest.raises(NetworkError, match=r"127\.0\.0\.1:9/"):
        fetch(server.file("http://127.0.0.1:9/file.bin"), destination)


def test_fetch_invalid_address_raises_with_it(server: FaultyServer, destination: Path) -> None:
    with pytest.raises(DataError, match="gopher"):
        fetch(server.file("gopher://127.0.0.1/file.bin"), destination)


def test_fetch_full_disk_raises_before_any_request(server: FaultyServer, destination: Path) -> None:
    file = RemoteFile("file.bin", (server.address(),), 10**18, "0" * 64)
    with pytest.raises(DataError, match="no room"):
        fetch(file, destination)
    assert server.requests == []


def test_fetch_progress_reports_bytes_rate_and_time_left(server: FaultyServer, destination: Path) -> None:
    reports: list[tuple[float, float, str]] = []
    url = server.address(Answer(rate=200e3))
    download.fetch(
        server.file(url),
        destination,
        retry_policy=RETRY_POLICY,
        progress=lambda *report: reports.append(report),
    )
    assert reports[-1][:2] == (len(CONTENT), len(CONTENT))
    assert any("MB/s" in note and "s left" in note for _, _, note in reports)


FETCH = """
import sys
from pathlib import Path
from tasks.core.data.sources import download
from tasks.core.data.sources.catalog import RemoteFile
url, size, sha256, destination = sys.argv[1:]
print(download.fetch(RemoteFile("file.bin", (url,), int(size), sha256), Path(destination)))
"""


def start(file: RemoteFile, destination: Path) -> "subprocess.Popen[str]":
    arguments = [file.urls[0], str(file.bytes), file.sha256, str(destination)]
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, *arguments], cwd=Path.cwd(), stdout=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_fetch_killed_download_is_resumed_by_the_next_process(
    server: FaultyServer, destination: Path
) -> None:
    url = server.address(Answer(rate=100e3), GOOD)
    first = start(server.file(url), destination)
    part = destination.with_name(".file.bin.part")
    while not (part.exists() and part.stat().st_size > 50_000):
        assert first.poll() is None
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    kept = part.stat().st_size
    second = start(server.file(url), destination)
    assert int(second.communicate()[0]) == len(CONTENT) - kept
    assert destination.read_bytes() == CONTENT
    assert [request.start for request in server.requests_to(url)] == [0, kept]


@pytest.mark.slow
def test_fetch_concurrent_processes_download_once(server: FaultyServer, destination: Path) -> None:
    url = server.address(Answer(rate=400e3))
    processes = [start(server.file(url), destination) for _ in range(3)]
    received = sorted(int(process.communicate()[0]) for process in processes)
    assert received == [0, 0, len(CONTENT)]
    assert len(server.requests_to(url)) == 1
