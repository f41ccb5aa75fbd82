"""The way in: looks whether anything has changed while pandas is kept out of the process."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from tasks.core.hidden_imports import hidden


def finish_if_unchanged(parameters: Mapping[str, Any]) -> bool:
    """Do as `command.finish_if_unchanged`, without importing pandas.

    Args:
        parameters: The parameters of the training flow.
    """
    with without_pandas():
        from tasks.orchestration.unchanged_run import command

        return command.finish_if_unchanged(parameters)


@contextmanager
def without_pandas() -> Iterator[None]:
    """Keep pyarrow from importing pandas (0.2 to 0.4 CPU-s), which it does as soon as it makes an array.

    It looks once a process whether pandas is there. After the block it looks again. `__init__` is the only
    way to make it do so; a version of pyarrow without it imports pandas as usual.
    """
    shim = getattr(pa.lib, "_pandas_api", None)
    if shim is None:
        yield
        return
    with hidden("pandas"):
        yield
    shim.__init__()
