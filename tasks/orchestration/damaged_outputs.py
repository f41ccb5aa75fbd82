"""A run that meets a damaged output of an earlier stage builds it again and goes on."""

import logging
from collections.abc import Callable
from typing import TypeVar

from tasks.core.errors import DamagedOutputError

T = TypeVar("T")
log = logging.getLogger("plumbline.run")


def built_again(body: Callable[[], T]) -> T:
    """Run `body`; if a stage finds its input damaged, say so and run `body` once more.

    What finds the damage marks the file, so the stage that made it is no longer reused. All other stages are.

    Raises:
        DamagedOutputError: An input is damaged in the second run, too.
    """
    try:
        return body()
    except DamagedOutputError as error:
        log.warning("%s: nothing was computed from it; it is built again", error.summary)
    return body()
