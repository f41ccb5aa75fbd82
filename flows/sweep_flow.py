"""Try several parameters and seeds, choose on the validation images, evaluate the chosen model once.

python flows/sweep_flow.py --help
"""

import logging
import shlex
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # a bare clone works too, and no other package called `tasks` gets in the way
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from flows.__main__ import main as plumbline

    plumbline("sweep")
    sys.exit()

from tasks.core.operations import environment

environment.prepare()

from prefect import flow, runtime
from prefect.client.schemas.objects import State

from flows.declarations import SWEEP
from flows.pipeline import evaluate_and_promote, exclusive_run, prepare_data
from flows.validation import validate
from tasks.core import recipes
from tasks.core.model.devices import tf_config
from tasks.core.model.selection.candidates import without_auto
from tasks.core.operations import prefect_server
from tasks.core.operations.command_line import options
from tasks.core.registry.source_identity import check_source_identity
from tasks.core.runs import record
from tasks.core.stage.handles import Features, RawDataset, TensorCache
from tasks.core.storage.workspaces import open_workspace
from tasks.core.sweep import ranking, report, space
from tasks.core.sweep.space import Trial
from tasks.display import console, server_link
from tasks.download import download
from tasks.embed import embed
from tasks.feature_audit import feature_audit
from tasks.orchestration import trials
from tasks.orchestration.run import Run
from tasks.orchestration.settings import SweepSettings, shown_name, unheeded_proofs, unused_options
from tasks.parameters.flow_parameters import with_parameters
from tasks.train import train
from tasks.trial import trial

log = logging.getLogger("plumbline.sweep")

SWEEP_PARAMETERS = ("vary", "random", "seeds")  # a training's own run does not have them


def run_name() -> str:
    """The flow run's name in the dashboard."""
    return f"sweep of {shown_name(runtime.flow_run.parameters)}, {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"


@flow(name="sweep-image-classifier", flow_run_name=run_name, validate_parameters=True)
@with_parameters(SweepSettings, SWEEP.text)
def sweep_flow(settings: SweepSettings) -> dict[str, Any] | State[None]:
    """Run the sweep flow; `SWEEP` has its text."""
    plan = plan_trials(settings)
    if settings.control.dry_run:
        return {"trials": trial_rows(plan)}
    _log_odd(settings, plan)
    given = settings.parameters()
    command_line = shlex.join(["plumbline", "sweep", *options(given)])
    own = {name: value for name, value in given.items() if name not in SWEEP_PARAMETERS}
    run = Run(open_workspace(settings.control.workspace), own)
    return exclusive_run(run, settings, lambda: sweep_pipeline(run, settings, plan, command_line))


def sweep_pipeline(run: Run, settings: SweepSettings, plan: list[Trial], command_line: str) -> dict[str, Any]:
    """A sweep: its trials, the choice, and the run of the chosen model; returns that run's summary."""
    settings = settings.with_train(without_auto(settings.train))
    raw = run.execute(download, settings.source)
    check_source_identity(raw, settings.source.name, run.workspace)
    tensors, audited = prepare_data(run, settings, raw)
    began = time.perf_counter()
    features = features_of_trials(run, settings, raw, tensors, plan)
    by_features = run.execute(feature_audit, tensors, audited, features) if features else None
    inputs = trials.TrialInputs(tensors, by_features or audited, features, raw)
    results = trials.run_trials(run, trial, plan, inputs, settings.runner)
    facts = {"sweep": run.run_id, "command": command_line, "wall_seconds": time.perf_counter() - began}
    table = ranking.trials_table(results, tensors, inputs.audit, settings.runner.runner)
    models = {result.trial.number: result.trained for result in results if result.trained}
    record.append_trials(table, models, tensors.dataset, run.run_id, run.workspace)
    reported = report.write_sweep_report(table, tensors, facts, run.workspace)
    trials.show(reported, tensors.dataset)
    chosen = plan[ranking.best_trial(table) - 1].settings
    run.adopt_trial(space.parameters(chosen))
    trained = run.execute(train, tensors, chosen, inputs.audit, features, raw)
    settings = settings.with_train(chosen)
    summary = evaluate_and_promote(
        run, settings, raw, tensors, audited, trained, features, by_features=by_features
    )
    return summary | trials.summary_entry(reported)


def features_of_trials(
    run: Run, settings: SweepSettings, raw: RawDataset, tensors: TensorCache, plan: list[Trial]
) -> Features | None:
    """Features of the images, if a trial starts from a backbone."""
    if not any(recipes.is_pretrained(planned.settings.recipe) for planned in plan):
        return None
    return run.execute(embed, raw, tensors, settings.embed, settings.runner)


def plan_trials(settings: SweepSettings) -> list[Trial]:
    """The trials, checked before anything starts."""
    validate(settings)
    tf_config.refuse_cluster("a sweep")
    search = settings.search
    return space.plan(without_auto(settings.train), search.vary, search.seeds, search.random)


def _log_odd(settings: SweepSettings, plan: list[Trial]) -> None:
    """Say which options have no effect, and whether combinations are fewer than were asked for."""
    if replaced := space.replaced(settings.train, plan):
        log.warning("--vary replaces %s", ", ".join(replaced))
    of_trials = [unused_options(planned.settings) for planned in plan]
    if unused := [option for option in of_trials[0] if all(option in others for others in of_trials)]:
        log.warning("no trial makes use of %s", ", ".join(unused))
    for text in (space.shortage(plan, settings.search.random), unheeded_proofs(settings.publish)):
        if text:
            log.warning(text)


def trial_rows(plan: list[Trial]) -> list[dict[str, str]]:
    """The trials, one row each."""
    return [
        {
            "trial": str(planned.number),
            "configuration": planned.label or "as given",
            "seed": str(planned.settings.seed),
        }
        for planned in plan
    ]


def main(**parameters: Any) -> None:
    """Check the parameters before anything starts, then run the flow."""
    with console.command_context():
        settings = SweepSettings.of(parameters)
        plan = plan_trials(settings)
        if settings.control.dry_run:
            _log_odd(settings, plan)
            console.table(trial_rows(plan))
            return
        prefect_server.wait_until_ready()
        with server_link.surviving():
            sweep_flow(**settings.parameters())
