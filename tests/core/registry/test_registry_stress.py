"""Many processes publish at the same time and are killed at random; the registry must stay consistent."""

import pytest

from tests.support.processes.concurrent_publishers import check, publish_concurrently

pytestmark = pytest.mark.slow


def test_publish_three_writers_with_kills(fake) -> None:
    publish_concurrently(fake, writers=3, models=6, kills_wanted=10, seed=1, patience=120)
    check(fake, 18)


@pytest.mark.stress
def test_publish_eight_writers_with_a_hundred_models_each_and_kills(fake) -> None:
    kills = publish_concurrently(fake, writers=8, models=100, kills_wanted=150, seed=2, patience=3000)
    print(f"{kills} kills")
    check(fake, 800)
