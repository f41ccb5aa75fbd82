"""Downloads from a real local server that misbehaves; patience is scaled down to keep them quick."""

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
from tasks.core.errors import ChecksumError, DataError, NetworkError
from tests.support.faulty_server import GOOD, Answer, FaultyServer

CONTENT = np.random.default_rng(0).bytes(300_000)
PATIENCE = RetryPolicy(
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


def bring(file: RemoteFile, destination: Path) -> int:
    return download.fetch(file, destination, patience=PATIENCE)


def leftovers(destination: Path) -> list[str]:
    return sorted(path.name for path in destination.parent.iterdir() if path != destination)


def test_a_good_address_is_asked_once(server: FaultyServer, destination: Path) -> None:
    file = server.file(server.address())
    assert bring(file, destination) == len(CONTENT)
    assert destination.read_bytes() == CONTENT
    assert bring(file, destination) == 0
    assert len(server.requests) == 1
    assert leftovers(destination) == []


@pytest.mark.parametrize("reset", [False, True])
def test_drops_every_tenth_cost_less_than_three_tenths_more(
    server: FaultyServer, destination: Path, reset: bool
) -> None:
    url = server.address(Answer(drop_after=len(CONTENT) // 10, reset=reset))
    received = bring(server.file(url), destination)
    assert destination.read_bytes() == CONTENT
    assert received / len(CONTENT) <= 1.3
    assert server.sent / len(CONTENT) <= 1.3
    assert len(server.asked(url)) >= 10


def test_a_truncated_answer_without_a_length_goes_on(server: FaultyServer, destination: Path) -> None:
    url = server.address(Answer(announce=0, drop_after=100_000), GOOD)
    assert bring(server.file(url), destination) == len(CONTENT)
    assert [request.start for request in server.asked(url)] == [0, 100_000]


def test_a_stalled_line_goes_on(server: FaultyServer, destination: Path) -> None:
    url = server.address(Answer(stall_after=100_000), GOOD)
    assert bring(server.file(url), destination) == len(CONTENT)
    assert destination.read_bytes() == CONTENT


def test_a_slow_host_is_left_for_the_next_which_goes_on(server: FaultyServer, destination: Path) -> None:
    slow, quick = server.address(Answer(rate=100e3)), server.address()
    bring(server.file(slow, quick), destination)
    assert destination.read_bytes() == CONTENT
    assert len(server.asked(slow)) == 1
    (request,) = server.asked(quick)
    assert 0 < request.start < len(CONTENT)


def test_a_slow_host_is_taken_up_again_when_the_others_fail(server: FaultyServer, destination: Path) -> None:
    slow, broken = server.address(Answer(rate=200e3)), server.address(Answer(status=500))
    bring(server.file(slow, broken), destination)
    assert destination.read_bytes() == CONTENT
    assert len(server.asked(slow)) == 2
    assert len(server.asked(broken)) == PATIENCE.tries


def test_the_only_address_may_be_slow(server: FaultyServer, destination: Path) -> None:
    slow, gone = server.address(Answer(rate=300e3)), server.address(Answer(status=404))
    bring(server.file(gone, slow), destination)
    assert destination.read_bytes() == CONTENT
    assert len(server.asked(slow)) == 1


def test_even_the_only_address_must_send_something(server: FaultyServer, destination: Path) -> None:
    with pytest.raises(NetworkError, match="bytes a second"):
        bring(server.file(server.address(Answer(rate=1e3))), destination)


def test_a_wrong_file_is_never_asked_for_again(server: FaultyServer, destination: Path) -> None:
    wrong, good = server.address(Answer(wrong=True)), server.address()
    bring(server.file(wrong, good), destination)
    assert destination.read_bytes() == CONTENT
    assert len(server.asked(wrong)) == 1


def test_a_wrong_file_is_remembered_by_the_next_try(server: FaultyServer, destination: Path) -> None:
    wrong, broken = server.address(Answer(wrong=True)), server.address(*[Answer(status=503)] * 6, GOOD)
    with pytest.raises(NetworkError, match="the next try goes on"):
        bring(server.file(wrong, broken), destination)
    bring(server.file(wrong, broken), destination)
    assert destination.read_bytes() == CONTENT
    assert len(server.asked(wrong)) == 1


def test_wrong_bytes_everywhere_are_a_checksum_error(server: FaultyServer, destination: Path) -> None:
    file = server.file(server.address(Answer(wrong=True)), server.address(Answer(status=404)))
    with pytest.raises(ChecksumError) as caught:
        bring(file, destination)
    assert file.sha256 in caught.value.parts["expected"]
    assert "HTTP 404" in caught.value.parts["found"]
    assert not destination.exists()
    assert leftovers(destination) == []


def test_mixed_bytes_are_told_apart_by_filling_the_file_alone(
    server: FaultyServer, destination: Path
) -> None:
    wrong = server.address(Answer(wrong=True, drop_after=100_000), Answer(status=500))
    good = server.address(GOOD)
    bring(server.file(wrong, good), destination)
    assert destination.read_bytes() == CONTENT


def test_a_host_that_ignores_ranges_loses_nothing_that_is_here(
    server: FaultyServer, destination: Path
) -> None:
    dropping = server.address(Answer(drop_after=200_000), Answer(status=404))
    whole = server.address(Answer(ranges=False, drop_after=250_000), Answer(ranges=False))
    bring(server.file(dropping, whole), destination)
    assert destination.read_bytes() == CONTENT
    assert len(server.asked(whole)) == 2


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_missing_file_is_not_asked_for_again(server: FaultyServer, destination: Path, status: int) -> None:
    gone = server.address(Answer(status=status))
    with pytest.raises(DataError, match="No address has file") as caught:
        bring(server.file(gone), destination)
    assert not isinstance(caught.value, ChecksumError)
    assert len(server.asked(gone)) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_failing_server_is_asked_again(server: FaultyServer, destination: Path, status: int) -> None:
    url = server.address(Answer(status=status), Answer(status=status), GOOD)
    bring(server.file(url), destination)
    assert len(server.asked(url)) == 3


@pytest.mark.parametrize("announced", [len(CONTENT) - 1, len(CONTENT) + 1, 5])
def test_another_size_is_another_file(server: FaultyServer, destination: Path, announced: int) -> None:
    other = server.address(Answer(announce=announced))
    with pytest.raises(ChecksumError, match=f"{announced} bytes"):
        bring(server.file(other), destination)
    assert len(server.asked(other)) == 1


def test_more_bytes_than_there_should_be(destination: Path) -> None:
    with FaultyServer(CONTENT + b"more") as server:
        file = RemoteFile(
            "file.bin",
            (server.address(Answer(announce=0)),),
            len(CONTENT),
            hashlib.sha256(CONTENT).hexdigest(),
        )
        with pytest.raises(ChecksumError, match="more than 300000 bytes"):
            bring(file, destination)


def test_redirects_are_followed_but_not_for_ever(server: FaultyServer, destination: Path) -> None:
    target = server.address()
    circle = server.address()
    path = circle.removeprefix(server.url(""))
    server.answers[path] = (Answer(to=path),)
    there = server.address(Answer(to=target.removeprefix(server.url(""))))
    bring(server.file(circle, there), destination)
    assert destination.read_bytes() == CONTENT


def test_a_host_that_is_not_there_is_a_network_error(server: FaultyServer, destination: Path) -> None:
    with pytest.raises(NetworkError, match=r"127\.0\.0\.1:9/"):
        bring(server.file("http://127.0.0.1:9/file.bin"), destination)


def test_an_address_that_is_none_is_told(server: FaultyServer, destination: Path) -> None:
    with pytest.raises(DataError, match="gopher"):
        bring(server.file("gopher://127.0.0.1/file.bin"), destination)


def test_a_full_disk_is_told_before_anything_is_asked(server: FaultyServer, destination: Path) -> None:
    file = RemoteFile("file.bin", (server.address(),), 10**18, "0" * 64)
    with pytest.raises(DataError, match="no room"):
        bring(file, destination)
    assert server.requests == []


def test_progress_tells_bytes_rate_and_time_left(server: FaultyServer, destination: Path) -> None:
    told: list[tuple[float, float, str]] = []
    url = server.address(Answer(rate=200e3))
    download.fetch(
        server.file(url), destination, patience=PATIENCE, progress=lambda *report: told.append(report)
    )
    assert told[-1][:2] == (len(CONTENT), len(CONTENT))
    assert any("MB/s" in note and "s left" in note for _, _, note in told)


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


def test_a_killed_download_is_gone_on_with_by_the_next_process(
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
    assert [request.start for request in server.asked(url)] == [0, kept]


def test_processes_that_want_the_same_file_download_it_once(server: FaultyServer, destination: Path) -> None:
    url = server.address(Answer(rate=400e3))
    processes = [start(server.file(url), destination) for _ in range(3)]
    received = sorted(int(process.communicate()[0]) for process in processes)
    assert received == [0, 0, len(CONTENT)]
    assert len(server.asked(url)) == 1
