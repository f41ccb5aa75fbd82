"""The order of runs in time, on machines whose clocks may be wrong."""

from datetime import UTC, datetime, timedelta

import pandas as pd

TOLERANCE = timedelta(hours=1)  # between the clocks of machines that share a workspace


def by_start(runs: pd.DataFrame) -> pd.DataFrame:
    """The rows of the table `runs`, the last run last.

    A row from the future was written by a machine with a wrong clock. Such rows come first. Otherwise one of
    them would stay the last run until its time has come.

    Args:
        runs: Rows with the column `started`, UTC.
    """
    in_order = runs.sort_values("started", kind="stable")
    is_future = in_order["started"] > datetime.now(UTC) + TOLERANCE
    return pd.concat([in_order[is_future], in_order[~is_future]])
