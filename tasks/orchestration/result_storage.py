"""Where Prefect keeps what tasks returned: handles as JSON, and nothing else is read back.

A result record names the serializer that reads it. Prefect obeys, also if the name is `pickle` or that of
any function. So everybody who can write to a shared workspace could run code as its other users. Here a
record that is not exactly as Plumbline writes it is refused. Prefect counts that as a cache miss, and the
stage runs.
"""

import inspect
import json
import logging
from collections.abc import Coroutine, Iterator
from functools import cache
from typing import Any

from prefect.filesystems import LocalFileSystem
from prefect.serializers import JSONSerializer

from tasks.core.errors import FormatError
from tasks.core.stage.stages import HANDLES
from tasks.core.storage import atomic

log = logging.getLogger("plumbline")
CLASS, ERROR = "__class__", "__exc_type__"  # Prefect imports and calls what these keys name


class HandleStorage(LocalFileSystem):
    """A folder of result records; only records of handles are read.

    Args:
        basepath: The folder.
    """

    _block_type_name = "Plumbline handles"

    async def aread_path(self, path: str) -> bytes:
        """The content of a record; see `checked`."""
        return checked(await super().aread_path(path))

    def read_path(self, path: str, **dispatch: Any) -> Any:
        """The content of a record, or a coroutine of it as in `LocalFileSystem`; see `checked`."""
        content: Any = super().read_path(path, **dispatch)
        return _checked_later(content) if inspect.iscoroutine(content) else checked(content)

    async def awrite_path(self, path: str, content: bytes) -> str:
        """Write a record; see `write_path`."""
        return str(self.write_path(path, content))

    def write_path(self, path: str, content: bytes, **dispatch: Any) -> Any:
        """Write a record whole or not at all: `LocalFileSystem` leaves an empty file on a full disk.

        Prefect goes on without a record, and says so in its own log only.
        """
        resolved = self._resolve_path(path)
        try:
            atomic.write_bytes(resolved, content)
        except OSError as error:
            _warn(str(resolved.parent), error.strerror or str(error))
            raise
        return str(resolved)


@cache
def _warn(folder: str, found: str) -> None:
    """Say once in a process that no records are written."""
    log.warning(
        "%s cannot be written (%s): the dashboard will not show these stages as Cached", folder, found
    )


async def _checked_later(content: Coroutine[Any, Any, bytes]) -> bytes:
    return checked(await content)


def checked(content: bytes) -> bytes:
    """Return the content of a result record if it is one of a handle.

    Raises:
        FormatError: It is read by another serializer than Plumbline's, or has an object that is no handle.
    """
    try:
        record = json.loads(content)
        serializer, result = record["metadata"]["serializer"], json.loads(record["result"])
    except (ValueError, KeyError, TypeError) as error:
        raise _refused(f"{type(error).__name__}: {error}") from error
    if serializer != JSONSerializer().model_dump():
        raise _refused(f"the serializer {serializer!r}")
    if not isinstance(result, dict) or result.get(CLASS) not in HANDLES:
        raise _refused("a result that is no handle")
    if strange := next(_objects(result.get("data")), None):
        raise _refused(f"an object in a handle: {strange!r}")
    return content


def _objects(value: Any) -> Iterator[Any]:
    """Whatever Prefect would construct inside of plain data."""
    if isinstance(value, dict):
        if {CLASS, ERROR} & set(value):
            yield value
        for item in value.values():
            yield from _objects(item)
    elif isinstance(value, list):
        for item in value:
            yield from _objects(item)


def _refused(found: str) -> FormatError:
    return FormatError("a stored result is not one of Plumbline's", expected="a handle as JSON", found=found)
