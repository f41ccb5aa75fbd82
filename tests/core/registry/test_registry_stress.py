"""Many processes publish at once and are killed at random moments; the registry must come out whole."""

import pytest

from tests.support.concurrent_publishers import check, publish_concurrently


def test_three_writers_with_kills(fake) -> None:
    publish_concurrently(fake, writers=3, each=6, kills_wanted=10, seed=1, patience=120)
    check(fake, 18)


@pytest.mark.stress
def test_eight_writers_publish_a_hundred_each_with_kills(fake) -> None:
    kills = publish_concurrently(fake, writers=8, each=100, kills_wanted=150, seed=2, patience=3000)
    print(f"{kills} kills")
    check(fake, 800)
