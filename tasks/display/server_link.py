"""What a run does when its Prefect server is lost: it goes on to its end, without the dashboard.

The stages need no server: their results are in the workspace. Progress, artifacts and events are told to the
server by `tell`, which after the first failure only logs one line. The flow's first and last state do need
the server. If the last cannot be sent, the run is complete all the same, and `surviving` says so.
"""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ParamSpec, TypeVar

import httpx
from prefect.client.schemas.objects import State
from prefect.events.clients import NullEventsClient
from prefect.events.worker import EventsWorker
from prefect.exceptions import Abort, CancelledRun, ObjectNotFound
from prefect.logging.handlers import set_api_log_sink
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    temporary_settings,
)

from tasks.core.addresses import without_secrets
from tasks.core.errors import PlumblineError, ServerError
from tasks.core.operations import prefect_server
from tasks.display.console import log

P = ParamSpec("P")
R = TypeVar("R")
UNREACHABLE = "Failed to reach API"  # begins Prefect's RuntimeError for a server that does not answer
FORGOTTEN = 404  # the server was started again with an empty database


class ServerLink:
    """What this process knows of its server and of its run.

    Attributes:
        lost: Whether a request has failed, after Prefect's own attempts.
        complete: Whether the run's work is done.
        outcome: What the run returned.
        settings: Prefect's settings that hold until the process ends.
    """

    def __init__(self) -> None:
        self.lost = False
        self.complete = False
        self.outcome: Any = None
        self.settings = ExitStack()


_link = ServerLink()


def tell(request: Callable[P, R], *arguments: P.args, **keywords: P.kwargs) -> R | None:
    """Send the server something that a run can do without; after a failure nothing is sent any more.

    Args:
        request: A function of Prefect's that sends a request.
        arguments, keywords: Its arguments.

    Returns:
        What `request` returned; None if the server is lost.
    """
    if _link.lost:
        return None
    try:
        return request(*arguments, **keywords)
    except Exception as error:
        if not is_lost(error):
            raise
        _lose(error)
        return None


def completed(outcome: R) -> R:
    """Note that the run's work is done, before its last state is sent. Returns `outcome`."""
    _link.complete, _link.outcome = True, outcome
    if _link.lost:  # one attempt: the server may be back
        _link.settings.enter_context(temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}))
    return outcome


@contextmanager
def surviving() -> Iterator[None]:
    """Call a flow in the block: a server that is lost at its end changes nothing but a line of the console.

    A run that the user stopped ends the process with the exit code of the signal. With a temporary server the
    flow sends no heartbeats: nobody waits for them there, and a flow waits up to a second at its end for
    Prefect's thread that sends them.

    Raises:
        ServerError: The server was lost before the work was done.
        Exception: What ended the work, if the server was lost too.
    """
    silent = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None} if prefect_server.is_temporary() else {}
    try:
        with temporary_settings(silent):
            yield
    except CancelledRun:
        sys.exit(128 + signal.SIGINT)
    except Abort:
        sys.exit(128 + signal.SIGTERM)
    except Exception as error:
        if not is_lost(error):
            raise
        _lose(error)
        if not _link.complete:
            raise _original(error) from error
        outcome = _link.outcome
        if isinstance(outcome, State) and outcome.is_cancelled():
            sys.exit(128 + signal.SIGINT)
        log.warning("the run is complete; its last state is missing in the dashboard")


def is_lost(error: BaseException | None) -> bool:
    """Whether an error means that the server is gone: it does not answer, fails, or has forgotten the run."""
    if isinstance(error, httpx.HTTPStatusError):
        code = error.response.status_code
        return code >= httpx.codes.INTERNAL_SERVER_ERROR or code == FORGOTTEN
    unreachable = isinstance(error, RuntimeError) and str(error).startswith(UNREACHABLE)
    return unreachable or isinstance(error, httpx.TransportError | ObjectNotFound)


def _lose(error: Exception) -> None:
    """Log one line, the first time, and send no more logs and events."""
    if _link.lost:
        return
    _link.lost = True
    set_api_log_sink(lambda _: None)
    EventsWorker.set_client_override(NullEventsClient)
    logging.raiseExceptions = False  # Prefect's log worker prints what it could not send otherwise
    going_on = "" if _link.complete else ": going on without the dashboard"
    log.warning("%s%s", _what(error), going_on)


def _what(error: BaseException) -> str:
    reason = str(error).partition("\n")[0] or type(error).__name__
    return f"the Prefect server at {_address()} is lost ({reason})"


def _address() -> str:
    return without_secrets(PREFECT_API_URL.value() or os.environ.get("PREFECT_API_URL") or "")


def _original(error: BaseException) -> Exception:
    """What ended the work before its state could not be sent; a `ServerError` if nothing else did."""
    earlier = error.__context__
    while earlier is not None:
        if isinstance(earlier, PlumblineError | OSError) and not is_lost(earlier):
            return earlier
        earlier = earlier.__context__
    return ServerError(
        _what(error),
        found="no answer when the run began, or while it ran",
        done="finished outputs and checkpoints are kept",
        todo="start the server again (`make dashboard`), or unset PREFECT_API_URL for a temporary one, and"
        " run again: it resumes there",
    )
