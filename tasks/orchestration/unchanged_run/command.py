"""Ends a training command at once if its run would only repeat the dataset's last run."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

from tasks.core import __version__
from tasks.core.addresses import without_secrets
from tasks.core.config import RecipeName
from tasks.core.data.sources import acquire, resolve
from tasks.core.operations import first_look, prefect_server, run_lock
from tasks.core.operations.run_lock import RunOwner
from tasks.core.runs import unchanged
from tasks.core.runs.run_record import RunRecord, StageRecord, json_value, time_text
from tasks.core.runs.unchanged import UnchangedRun
from tasks.core.stage.handles import RawDataset
from tasks.core.workspace import Workspace
from tasks.display import artifact_content, console
from tasks.display.console import log
from tasks.display.summary import unchanged_summary
from tasks.orchestration.settings import TrainRunSettings, shown_name
from tasks.orchestration.unchanged_run import eligibility, flow_run
from tasks.orchestration.unchanged_run.flow_run import FlowRun
from tasks.parameters.flow_parameters import parameters_of

FLOW = "train-image-classifier"
SHOWN_ONCE = ("plumbline.registry", "plumbline.metrics")  # loggers whose warnings a process shows once


class SourceChanged(Exception):  # noqa: N818 - an event: the flow takes over
    """A file of the source must be read, so it is new or has changed."""


@dataclass(frozen=True)
class Repetition:
    """A run that repeats the last one, and is not recorded yet.

    Args:
        run: The run.
        raw: Its dataset.
        last: The last run.
        told: The run at the Prefect server; None without a server.
    """

    run: RunRecord
    raw: RawDataset
    last: UnchangedRun
    told: FlowRun | None


def finish_if_unchanged(parameters: Mapping[str, Any]) -> bool:
    """Record a run in which nothing has changed, and print its summary; otherwise do nothing.

    The decision is `unchanged.find_unchanged_run`, as in the flow. Whatever is uncertain is left to the flow:
    another run of the dataset, a run that was killed, a file that must be read, an error of any kind.

    Args:
        parameters: The parameters of the training flow, as they were typed.

    Returns:
        Whether the run is done.
    """
    with _kept_messages() as messages, ExitStack() as held:
        try:
            repetition = _repetition(parameters, messages, held)
        except SourceChanged:
            first_look.this.warnings = _warnings(messages)
            return False
        except Exception:  # the flow meets it again, and says what it is
            repetition = None
        if repetition is None:
            first_look.this.warnings = [each for each in _warnings(messages) if each.name in SHOWN_ONCE]
            return False
        with _shown(messages, repetition.told):
            _finish(repetition, messages)
    return True


def _warnings(messages: Sequence[logging.LogRecord]) -> list[logging.LogRecord]:
    return [record for record in messages if record.levelno >= logging.WARNING]


def _repetition(
    parameters: Mapping[str, Any], messages: Sequence[logging.LogRecord], held: ExitStack
) -> Repetition | None:
    """The run if it repeats the last one, with the run lock held; None if it does not for certain."""
    settings = TrainRunSettings.of(parameters)
    workspace = Workspace.open(settings.control.workspace)
    if not eligibility.may_repeat(settings, workspace):
        return None
    dataset = resolve.dataset_name(settings.source)
    note_owner = held.enter_context(run_lock.undisturbed(dataset, workspace))
    if note_owner is None:
        return None
    run = RunRecord(workspace, settings.parameters())
    last = unchanged.find_same_run(dataset, run.parameters, workspace)
    if last is None or not last.is_of(raw := _listed(settings, run)):
        return None
    address = prefect_server.server_address()
    told = _begin(address, settings) if address else None
    if told:
        note_owner(RunOwner.this(told.id, told.name))
    return Repetition(run, raw, last, told)


def _listed(settings: TrainRunSettings, run: RunRecord) -> RawDataset:
    """The present listing of the source.

    Raises:
        SourceChanged: A file must be read.
    """
    first_look.this.began, began = run.started, time.perf_counter()
    raw = acquire.acquire(settings.source, run.workspace, progress=_stop)
    seconds = round(time.perf_counter() - began, 3)
    run.source_root = raw.root
    run.records["download"] = StageRecord(raw.digest, "unchanged", seconds, raw.manifest["cost"])
    return raw


def _stop(done: float, total: float, note: str = "") -> NoReturn:
    raise SourceChanged


def _begin(address: str, settings: TrainRunSettings) -> FlowRun:
    values = settings.parameters()
    every = [parameter.name for parameter in parameters_of(TrainRunSettings)]
    parameters = {name: json_value(values[name]) if name in values else None for name in every}
    recipe = RecipeName(settings.train.recipe)
    name = f"{shown_name(values)} with {recipe}, {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    return flow_run.begin(address, FLOW, name, parameters)


def _finish(repetition: Repetition, messages: Sequence[logging.LogRecord]) -> None:
    run, raw, last, told = repetition.run, repetition.raw, repetition.last, repetition.told
    cost = raw.manifest["cost"]["wall_seconds"]
    log.info("%-13s %-66s %s", "download", raw, time_text("unchanged", 0.0, cost))
    run.copy_from(last.stages)
    unchanged.append(run, raw, last, told.id if told else None)
    unchanged_summary(run, last)
    if told is None:
        return
    report = run.workspace.root / str(last.row["report"])
    artifacts = artifact_content.of_unchanged_run(
        run.stages(), raw.dataset, last.verdict, run.workspace, report
    )
    try:
        told.finish(messages, artifacts)
    except OSError as error:
        log.warning("the Prefect server at %s is lost (%s)", without_secrets(told.address), error)
        log.warning("the run is complete; its last state is missing in the dashboard")


@contextmanager
def _shown(messages: Sequence[logging.LogRecord], told: FlowRun | None) -> Iterator[None]:
    """Print the first line and the messages so far, then those of the block."""
    where = f"shown in the dashboard at {_dashboard(told)}" if told else "without a Prefect server"
    print(f"plumbline {__version__}: train, {where}", flush=True)
    with console.command_context():
        for record in [*messages]:
            console.show(record)
        try:
            yield
        except BaseException as error:
            if told:
                told.set_state("FAILED", "Failed", f"{type(error).__name__}: {error}")
            raise


def _dashboard(told: FlowRun) -> str:
    return without_secrets(told.address).removesuffix("/api")


@contextmanager
def _kept_messages() -> Iterator[list[logging.LogRecord]]:
    """Keep the messages of the `plumbline` loggers; they are shown only if the run ends here."""
    kept: list[logging.LogRecord] = []
    handler = _Keeper(kept.append)
    log.addHandler(handler)
    try:
        yield kept
    finally:
        log.removeHandler(handler)


class _Keeper(logging.Handler):
    def __init__(self, keep: Callable[[logging.LogRecord], Any]) -> None:
        super().__init__()
        self._keep = keep

    def emit(self, record: logging.LogRecord) -> None:
        self._keep(record)
