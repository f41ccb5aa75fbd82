"""The start of a flow's command: a look at its options, then a server, and only then Prefect.

What this look refuses is answered within a second, and before a server starts.
"""

import importlib
import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core import process_memory
from tasks.core.operations import environment
from tasks.display import console
from tasks.orchestration.settings import RunSettings, SweepSettings, TrainRunSettings
from tasks.parameters.model_settings import EvaluateSettings, PredictSettings

if TYPE_CHECKING:
    from tasks.core.stage.handles import ModelVersion


def options(config: Path | None = None) -> None:
    """Options of every flow's command that are no parameters of the flow.

    Args:
        config: A .toml or .yaml file with options of this command (`plumbline config show` prints one). Those
            on the command line win.
    """


def predict_options(config: Path | None = None, json: bool = False) -> None:
    """Options of `plumbline predict` that are no parameters of the flow.

    Args:
        config: A .toml or .yaml file with options of this command (`plumbline config show` prints one). Those
            on the command line win.
        json: Print the rows as JSON, and nothing else; messages go to stderr. Without --out nothing is kept.
    """


def start(name: str, /, **parameters: Any) -> None:
    """Look at the options, start a server, import Prefect, and run the flow.

    Args:
        name: The flow's command.
        **parameters: Its parameters, and `options`.
    """
    del parameters["config"]  # its options are among the parameters
    if parameters.pop("json", False):
        print_json(parameters)
        return
    run(name, parameters)


def run(name: str, parameters: dict[str, Any]) -> None:
    """Run a flow after a look at its parameters."""
    environment.prepare_command()
    with process_memory.paused_collections(freeze=True):
        if name == "train" and _repeats_the_last_run(parameters):
            return
        with console.command_context():
            parameters |= LOOKS[name](parameters)
        environment.open_command(name)
        module = importlib.import_module(f"flows.{name}_flow")
    module.main(**parameters)


def _repeats_the_last_run(parameters: dict[str, Any]) -> bool:
    from tasks.orchestration.unchanged_run.start import finish_if_unchanged

    return finish_if_unchanged(parameters)


def in_process(name: str, parameters: dict[str, Any]) -> Any:
    """Run a flow for a caller in Python, and return its result; errors are raised.

    Args:
        name: The flow's command.
        parameters: Its parameters; those that are absent have their default.
    """
    from tasks.core.operations import prefect_server

    environment.prepare()
    parameters = parameters | LOOKS[name](parameters)
    prefect_server.start()
    module = importlib.import_module(f"flows.{name}_flow")
    prefect_server.wait_until_ready()
    return getattr(module, f"{name}_flow")(**parameters)


def print_json(parameters: dict[str, Any]) -> None:
    """Predict, and print the rows as JSON to stdout."""
    from tasks.core.data.inference.output_folder import TEMPORARY

    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
        if "out" not in typed_options():
            parameters["out"] = Path(folder) / "predictions"
        with redirect_stdout(sys.stderr):
            run("predict", parameters)
        rows = _rows(parameters)
    print(json.dumps(rows, indent=1, ensure_ascii=False), flush=True)


def typed_options() -> set[str]:
    """Names of the options of this process, also those of its --config file."""
    return {word.partition("=")[0].removeprefix("--") for word in sys.argv if word.startswith("--")}


def _rows(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    from tasks.core.data.inference.json_rows import json_rows
    from tasks.core.registry import registry
    from tasks.core.storage.workspaces import open_existing

    workspace = open_existing(parameters["workspace"])
    version = registry.resolve(parameters["dataset"], parameters["model"], workspace)
    return json_rows(parameters["out"], version.manifest["facts"]["classes"])


def _look_at_training(kind: type[RunSettings], parameters: dict[str, Any]) -> dict[str, Any]:
    settings = kind.of(parameters)
    from flows.validation import validate  # after the ranges: it brings pyarrow

    validate(settings)
    return {}


def _look_at_sweep(parameters: dict[str, Any]) -> dict[str, Any]:
    from tasks.core.sweep import space

    settings = SweepSettings.of(parameters)
    search = settings.search
    space.plan(settings.train, search.vary, search.seeds, search.random)
    return _look_at_training(SweepSettings, parameters)


def _look_at_prediction(parameters: dict[str, Any]) -> dict[str, Any]:
    from tasks.core.data.inference import output_folder
    from tasks.core.data.inference.inputs import check_inputs
    from tasks.core.evaluation import abstention
    from tasks.core.registry import final_models
    from tasks.core.workspace import expanded

    settings = PredictSettings.of(parameters)
    answers = settings.answers
    check_inputs(parameters["images"])
    output_folder.check(expanded(settings.inputs.out).absolute())
    dataset, version = _version(parameters)
    if answers.all_images:
        version = final_models.of_version(version, answers.abstain)
    abstention.threshold(version, answers.abstain, answers.threshold)
    return dataset


def _look_at_evaluation(parameters: dict[str, Any]) -> dict[str, Any]:
    from tasks.core.config import SourceSettings
    from tasks.core.data.sources import resolve

    images = EvaluateSettings.of(parameters).images
    resolve.check_source(SourceSettings(dataset=parameters["data"], corrections=parameters["corrections"]))
    resolve.check_split(images.split)
    return _version(parameters)[0]


def _version(parameters: dict[str, Any]) -> tuple[dict[str, Any], "ModelVersion"]:
    """The dataset of the model, as a parameter, and the model, which must be there."""
    from tasks.core.registry import last_published, registry
    from tasks.core.storage.workspaces import open_existing

    workspace = open_existing(parameters["workspace"])
    dataset = last_published.choose(parameters["dataset"], workspace)
    return {"dataset": dataset}, registry.resolve(dataset, parameters["model"], workspace)


LOOKS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "train": partial(_look_at_training, TrainRunSettings),
    "sweep": _look_at_sweep,
    "predict": _look_at_prediction,
    "evaluate": _look_at_evaluation,
}
