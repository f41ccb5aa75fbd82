"""The order of runs in time, on machines whose clocks may be wrong."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE = timedelta(hours=1)  # between the clocks of machines that share a workspace


def by_start(runs: "pd.DataFrame") -> "pd.DataFrame":
    """The rows of the table `runs`, the last run last.

    A row from the future was written by a machine with a wrong clock. Such rows come first. Otherwise one of
    them would stay the last run until its time has come.

    Args:
        runs: Rows with the column `started`, UTC.
    """
    import pandas as pd

    in_order = runs.sort_values("started", kind="stable")
    is_future = in_order["started"] > datetime.now(UTC) + TOLERANCE
    return pd.concat([in_order[is_future], in_order[~is_future]])


def last(started: Sequence[datetime]) -> int:
    """Which of some runs is the last one, in the order of `by_start`.

    Args:
        started: When each of them started, UTC; at least one.

    Returns:
        Its place in `started`.
    """
    latest = datetime.now(UTC) + TOLERANCE
    return max(range(len(started)), key=lambda place: (started[place] <= latest, started[place], place))
