"""The Prefect server of a command: which one, a temporary one, and its process, which makes a new database.

Start at `temporary.py`. Modules here may import what `tasks.core.operations` may.
"""

from tasks.core.operations.prefect_server.temporary import (
    START_TIMEOUT,
    die_with_parent,
    is_temporary,
    server_address,
    start,
    wait_until_ready,
)

__all__ = ["START_TIMEOUT", "die_with_parent", "is_temporary", "server_address", "start", "wait_until_ready"]
