"""The flows as commands: name, parameters, text and examples. Nothing here imports Prefect or pandas.

`plumbline --help` and Prefect's form show the same text. A flow takes it by `with_parameters`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tasks.orchestration.settings import SweepSettings, TrainRunSettings
from tasks.parameters.flow_parameters import FlowSettings, groups_of, with_parameters
from tasks.parameters.model_settings import EvaluateSettings, PredictSettings


@dataclass(frozen=True)
class FlowCommand:
    """A flow as a command.

    Args:
        name: The sub-command of `plumbline`.
        settings: Its parameters.
        text: What it does and returns, as a docstring without Args.
        examples: Command lines for the end of `--help`.
    """

    name: str
    settings: type[FlowSettings]
    text: str
    examples: tuple[str, ...]

    def function(self) -> Callable[..., Any]:
        """A function with the flow's signature and docstring, for `documented`."""
        return with_parameters(self.settings, self.text)(_nothing)

    @property
    def groups(self) -> dict[str, str]:
        """The heading in `--help`, by parameter."""
        return groups_of(self.settings)


def _nothing(settings: FlowSettings) -> None:
    """Stand in for the flow, which imports Prefect."""


TRAIN = FlowCommand(
    "train",
    TrainRunSettings,
    """Turn a dataset of images into an evaluated, versioned image classifier.

Stages whose data, parameters and code are as in an earlier run are not run again. Everything that is
made lies in the workspace: models, metrics tables in parquet, the report.

Returns:
    The run's summary: accuracy, verdict, paths, what was reused; JSON values.
""",
    (
        "plumbline train",
        "plumbline train --dataset ./photos --image-size 96 --recipe good",
        "plumbline train --dataset cifar10 --dry-run",
        "plumbline train --config run.toml --seed 1",
    ),
)
SWEEP = FlowCommand(
    "sweep",
    SweepSettings,
    """Train with several parameters and seeds; the best on the validation images goes on to be evaluated.

The test images are asked once, for the chosen model. Each training is a finished stage of its own: one
that an earlier run or sweep has made is reused, and one that fails stops no other.

Returns:
    The summary of the chosen model's run: accuracy, verdict, paths; JSON values.
""",
    (
        "plumbline sweep --dataset cifar10 --vary learning_rate=0.2,0.4 --seeds 3",
        "plumbline sweep --vary learning_rate=0.05..0.8 --vary epochs=2..8 --random 20",
    ),
)
PREDICT = FlowCommand(
    "predict",
    PredictSettings,
    """Classify images with a published model; the predictions are added to a folder of parquet files.

Images that this model has already classified are skipped, so the command may be run as often as you like.
A run that was killed is resumed. The new images are compared with the model's validation images.

Returns:
    The numbers of images, of images without an answer and of unreadable images, by name; `drift`, one
    text per batch; and `out`, the folder.
""",
    (
        "plumbline predict new-photos/ --dataset photos",
        "plumbline predict a.jpg b.jpg --json",
        "plumbline predict 'inbox/*.jpg' --dataset photos --abstain 0.05",
    ),
)
EVALUATE = FlowCommand(
    "evaluate",
    EvaluateSettings,
    """Evaluate a published model on any labelled images: a report, and rows in the metrics tables.

All images of DATA are scored, whatever their split. Left out, counted and named are images of classes
that the model does not know, and images that the model was trained on. Nothing is trained or chosen, and
the registry stays as it is.

Returns:
    The summary: accuracy, worst classes, report, numbers of images scored and left out; JSON values.
""",
    (
        "plumbline evaluate photos-of-2027 --dataset photos",
        "plumbline evaluate labels.csv --dataset photos --model previous",
    ),
)
FLOWS = {each.name: each for each in (TRAIN, SWEEP, PREDICT, EVALUATE)}
