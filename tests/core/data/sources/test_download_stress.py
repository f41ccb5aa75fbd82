"""Many random mixes of faults over several addresses: right bytes or a typed error, always, and soon."""

import json
import random
import time
from pathlib import Path

import pytest

from tasks.core.data.sources import download
from tasks.core.data.sources.catalog import RemoteFile
from tasks.core.data.sources.http import RetryPolicy
from tasks.core.errors import DataError, NetworkError
from tests.support.faulty_server import GOOD, Answer, FaultyServer

SEEDS = 300
PATIENCE = RetryPolicy(
    read_timeout=1.0,
    slow_rate=400e3,
    slow_seconds=0.05,
    dead_rate=2e3,
    tries=3,
    min_progress=512,
    backoff=0.002,
)


def faults(generator: random.Random, size: int) -> list[Answer]:
    """One of each kind of misbehaviour."""
    somewhere = generator.randrange(1, size)
    return [
        Answer(drop_after=size // 10),
        Answer(drop_after=somewhere, reset=True),
        Answer(drop_after=somewhere, announce=0),
        Answer(drop_after=0),
        Answer(stall_after=somewhere, stall=1.2),
        Answer(rate=20e3 * generator.randint(1, 10), drop_after=somewhere),
        Answer(wrong=True),
        Answer(wrong=True, drop_after=somewhere),
        Answer(ranges=False),
        Answer(ranges=False, drop_after=somewhere),
        Answer(announce=size + generator.choice([-1, 1, 1000])),
        *(Answer(status=status) for status in (404, 403, 429, 500, 503)),
    ]


def prepare(server: FaultyServer, generator: random.Random) -> tuple[list[str], bool]:
    """One to four addresses with random answers, and whether one of them is good from its first answer."""
    size, urls, good = len(server.content), [], False
    for _ in range(generator.randint(1, 4)):
        answers = generator.choices(faults(generator, size), k=generator.randint(0, 5))
        ending = generator.choice([GOOD, GOOD, Answer(drop_after=size // 10), *answers[-1:]])
        urls.append(server.address(*answers, ending))
        good |= not answers and ending == GOOD
    return urls, good


def bring(file: RemoteFile, destination: Path) -> str:
    """Try up to six times, as a person or Prefect would: "right", or the last error's name."""
    end = ""
    for _ in range(6):
        try:
            download.fetch(file, destination, patience=PATIENCE)
            return "right"
        except (NetworkError, DataError) as error:
            end = type(error).__name__
            if destination.exists() or not error.parts["found"]:
                return f"{end} that leaves a file or says nothing"
    return end


@pytest.mark.stress
def test_every_download_ends_with_the_right_bytes_or_a_typed_error(tmp_path: Path) -> None:
    ends: dict[str, int] = {}
    for seed in range(SEEDS):
        generator = random.Random(seed)
        with FaultyServer(generator.randbytes(generator.randint(1_000, 60_000))) as server:
            urls, good = prepare(server, generator)
            destination = tmp_path / str(seed) / "sha" / "file.bin"
            began = time.monotonic()
            end = bring(server.file(*urls), destination)
            assert (end == "right") == destination.exists(), seed
            assert end != "right" or destination.read_bytes() == server.content, seed
            assert end == "right" or not good, (seed, end)
            assert time.monotonic() - began < 60, (seed, "hangs")
            ends[end] = ends.get(end, 0) + 1
    print(json.dumps(ends))
    assert set(ends) <= {"right", "NetworkError", "DataError", "ChecksumError"}
    assert ends["right"] > SEEDS / 2


@pytest.mark.stress
@pytest.mark.parametrize("addresses", [1, 2, 3])
def test_drops_every_tenth_cost_at_most_three_tenths(tmp_path: Path, addresses: int) -> None:
    """Bytes sent by the server over bytes of the file, over 40 seeds; drops come at 5 to 15 % each."""
    ratios = []
    for seed in range(40):
        generator = random.Random(seed)
        with FaultyServer(generator.randbytes(400_000)) as server:
            drops = [
                Answer(drop_after=generator.randint(20_000, 60_000), reset=seed % 2 == 1) for _ in range(40)
            ]
            urls = [server.address(*drops) for _ in range(addresses)]
            download.fetch(server.file(*urls), tmp_path / str(seed) / "sha" / "file.bin", patience=PATIENCE)
            ratios.append(server.sent / len(server.content))
    print(f"{addresses} addresses: {max(ratios):.3f} at worst, {sum(ratios) / len(ratios):.3f} on average")
    assert max(ratios) <= 1.3
