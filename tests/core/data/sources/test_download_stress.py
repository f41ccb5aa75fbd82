"""Random mixes of faults over several addresses: a download ends with the right bytes or a typed error."""

import json
import random
import time
from pathlib import Path

import pytest

from tasks.core.data.sources import download
from tasks.core.data.sources.catalog import RemoteFile
from tasks.core.data.sources.http import RetryPolicy
from tasks.core.errors import DataError, NetworkError
from tests.support.servers.faulty_server import GOOD, Answer, FaultyServer

pytestmark = pytest.mark.stress

SEEDS = 300
RETRY_POLICY = RetryPolicy(
    read_timeout=1.0,
    slow_rate=400e3,
    slow_seconds=0.05,
    dead_rate=2e3,
    tries=3,
    min_progress=512,
    backoff=0.002,
)


def faults(generator: random.Random, size: int) -> list[Answer]:
    """One of each kind of fault."""
    position = generator.randrange(1, size)
    return [
        Answer(drop_after=size // 10),
        Answer(drop_after=position, reset=True),
        Answer(drop_after=position, announce=0),
        Answer(drop_after=0),
        Answer(stall_after=position, stall=1.2),
        Answer(rate=20e3 * generator.randint(1, 10), drop_after=position),
        Answer(wrong=True),
        Answer(wrong=True, drop_after=position),
        Answer(ranges=False),
        Answer(ranges=False, drop_after=position),
        Answer(announce=size + generator.choice([-1, 1, 1000])),
        *(Answer(status=status) for status in (404, 403, 429, 500, 503)),
    ]


def prepare(server: FaultyServer, generator: random.Random) -> tuple[list[str], bool]:
    """One to four addresses with random responses, and whether one of them has no fault."""
    size, urls, good = len(server.content), [], False
    for _ in range(generator.randint(1, 4)):
        answers = generator.choices(faults(generator, size), k=generator.randint(0, 5))
        ending = generator.choice([GOOD, GOOD, Answer(drop_after=size // 10), *answers[-1:]])
        urls.append(server.address(*answers, ending))
        good |= not answers and ending == GOOD
    return urls, good


def outcome_of(file: RemoteFile, destination: Path) -> str:
    """Try up to six times, as a user or Prefect would. Returns "right", or the last error's name."""
    outcome = ""
    for _ in range(6):
        try:
            download.fetch(file, destination, retry_policy=RETRY_POLICY)
            return "right"
        except (NetworkError, DataError) as error:
            outcome = type(error).__name__
            if destination.exists() or not error.parts["found"]:
                return f"{outcome} that leaves a file or says nothing"
    return outcome


def test_fetch_random_faults_end_with_right_bytes_or_typed_error(tmp_path: Path) -> None:
    outcomes: dict[str, int] = {}
    for seed in range(SEEDS):
        generator = random.Random(seed)
        with FaultyServer(generator.randbytes(generator.randint(1_000, 60_000))) as server:
            urls, good = prepare(server, generator)
            destination = tmp_path / str(seed) / "sha" / "file.bin"
            began = time.monotonic()
            outcome = outcome_of(server.file(*urls), destination)
            assert (outcome == "right") == destination.exists(), seed
            assert outcome != "right" or destination.read_bytes() == server.content, seed
            assert outcome == "right" or not good, (seed, outcome)
            assert time.monotonic() - began < 60, (seed, "hangs")
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
    print(json.dumps(outcomes))
    assert set(outcomes) <= {"right", "NetworkError", "DataError", "ChecksumError"}
    assert outcomes["right"] > SEEDS / 2


@pytest.mark.parametrize("addresses", [1, 2, 3])
def test_fetch_lost_connections_cost_at_most_30_percent(tmp_path: Path, addresses: int) -> None:
    """Bytes sent over bytes of the file, for 40 seeds; the connection is lost after 5 to 15 % each time."""
    ratios = []
    for seed in range(40):
        generator = random.Random(seed)
        with FaultyServer(generator.randbytes(400_000)) as server:
            drops = [
                Answer(drop_after=generator.randint(20_000, 60_000), reset=seed % 2 == 1) for _ in range(40)
            ]
            urls = [server.address(*drops) for _ in range(addresses)]
            download.fetch(
                server.file(*urls), tmp_path / str(seed) / "sha" / "file.bin", retry_policy=RETRY_POLICY
            )
            ratios.append(server.sent / len(server.content))
    print(f"{addresses} addresses: {max(ratios):.3f} at worst, {sum(ratios) / len(ratios):.3f} on average")
    assert max(ratios) <= 1.3
