from datetime import UTC, datetime, timedelta

import pandas as pd

from tasks.core.runs import order


def test_row_from_the_future_is_not_the_last_run() -> None:
    now = datetime.now(UTC)
    started = [now - timedelta(days=1), now + timedelta(days=365), now - timedelta(hours=1)]
    runs = pd.DataFrame({"run_id": ["first", "future", "last"], "started": pd.to_datetime(started, utc=True)})
    assert list(order.by_start(runs)["run_id"]) == ["future", "first", "last"]


def test_clock_that_is_some_minutes_ahead_counts() -> None:
    now = datetime.now(UTC)
    started = [now + timedelta(minutes=5), now - timedelta(minutes=5)]
    runs = pd.DataFrame({"run_id": ["ahead", "earlier"], "started": pd.to_datetime(started, utc=True)})
    assert list(order.by_start(runs)["run_id"]) == ["earlier", "ahead"]


def test_last_is_the_last_row_of_by_start() -> None:
    now = datetime.now(UTC)
    for hours in ([-24, 8_760, -1], [-1, -1, -3], [8_760, 9_000], [-2]):
        started = [now + timedelta(hours=hour) for hour in hours]
        runs = pd.DataFrame({"place": range(len(hours)), "started": pd.to_datetime(started, utc=True)})
        assert order.last(started) == order.by_start(runs)["place"].iloc[-1]
