"""The table of a comparison of recipes, for those who only read it."""

import pandas as pd

from tasks.core.stage.handles import Selection

TABLE = "candidates.parquet"


def read_candidates(selection: Selection) -> pd.DataFrame:
    """One row per candidate, in the order of the comparison.

    Returns:
        Columns selection (the digest), recipe, state ("compared", "over budget" or "too few images"),
        accuracy, low, high (0..1, 95 %), log_loss, images, cpu_seconds, wall_seconds, estimated_minutes,
        chosen.
    """
    return pd.read_parquet(selection.directory / TABLE).assign(selection=selection.digest)
