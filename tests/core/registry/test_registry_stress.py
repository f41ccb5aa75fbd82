"""Many processes publish at once and are killed at random moments; the registry must come out whole."""

import pytest

from tests.support.concurrent_publishers import check, storm


def test_three_writers_with_kills(lab) -> None:
    storm(lab, writers=3, each=6, kills_wanted=10, seed=1, patience=120)
    check(lab, 18)


@pytest.mark.campaign
def test_eight_writers_publish_a_hundred_each_with_kills(lab) -> None:
    kills = storm(lab, writers=8, each=100, kills_wanted=150, seed=2, patience=3000)
    print(f"{kills} kills")
    check(lab, 800)
