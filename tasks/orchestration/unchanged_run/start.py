"""The way in: looks whether anything has changed while pandas is kept out of the process."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tasks.core.errors import UsageError
from tasks.core.operations.hidden_imports import hidden
from tasks.core.workspace import Workspace


def finish_if_unchanged(parameters: Mapping[str, Any]) -> bool:
    """Do as `command.finish_if_unchanged`, without importing pandas.

    Args:
        parameters: The parameters of the training flow.
    """
    if not _has_runs(parameters):
        return False
    with without_pandas():
        from tasks.orchestration.unchanged_run import command

        return command.finish_if_unchanged(parameters)


def _has_runs(parameters: Mapping[str, Any]) -> bool:
    """Whether a run can be repeated at all; without one, imports of 0.2 s need not precede the server's."""
    try:
        return (Workspace.open(parameters["workspace"]).metrics / "runs").is_dir()
    except (UsageError, OSError):  # the flow says so
        return False


@contextmanager
def without_pandas() -> Iterator[None]:
    """Keep pyarrow from importing pandas (0.2 to 0.4 CPU-s), which it does as soon as it makes an array.

    It looks once a process whether pandas is there. After the block it looks again. `__init__` is the only
    way to make it do so; a version of pyarrow without it imports pandas as usual.
    """
    import pyarrow as pa

    shim = getattr(pa.lib, "_pandas_api", None)
    if shim is None:
        yield
        return
    with hidden("pandas"):
        yield
    shim.__init__()
