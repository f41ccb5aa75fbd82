"""A check before a long training: a network that can't learn one batch by heart won't learn a dataset.

A. Karpathy, "A Recipe for Training Neural Networks" (2019): "overfit a single batch".
"""

from dataclasses import dataclass, replace

import numpy as np

from tasks.core import recipes
from tasks.core.config import TrainSettings
from tasks.core.data.tensors.cache import Split, open_split
from tasks.core.errors import DivergedError
from tasks.core.model.devices import runtime
from tasks.core.stage.handles import TensorCache

IMAGES = 64  # at most: what fits into any recipe's capacity
STEPS = 300
MAX_LOSS_SHARE = 0.1  # of the loss of guessing


@dataclass(frozen=True)
class OverfitResult:
    """What came of overfitting a batch.

    Args:
        passed: Whether the network knows the batch by heart.
        images: Images in the batch.
        steps: Steps trained.
        accuracy: On the batch, 0..1, by the network as it would be published.
        loss: Cross-entropy on the batch; guessing gives log(classes).
        problem: What went wrong, in words; empty if nothing.
    """

    passed: bool
    images: int
    steps: int
    accuracy: float
    loss: float
    problem: str = ""

    def __str__(self) -> str:
        right = f"{self.accuracy:.0%} of {self.images} images right"
        found = f"{right} after {self.steps} steps, loss {self.loss:.3g}"
        return f"pass: {found}" if self.passed else f"fail: {found}; {self.problem}"


def overfit_batch(tensors: TensorCache, settings: TrainSettings) -> OverfitResult:
    """Train the recipe on one batch of at most 64 training images and see whether it learns them by heart.

    Without augmentation, label smoothing and mirrored views, which are there to prevent just this. Takes
    seconds, and writes nothing.
    """
    with runtime.suppress_stderr():
        from tasks.core.model.devices import device
        from tasks.core.model.training.steps import StepPlan
        from tasks.core.model.training.trainer import Trainer

    batch = _batch(tensors)
    recipe = replace(
        recipes.resolve(settings, tensors.train),
        batch_size=len(batch.labels),
        epochs=float(STEPS),
        augment="none",
        label_smoothing=0.0,
        tta_views=1,
        logit_adjustment=False,
        patience=0,
    )
    plan = StepPlan.of(recipe, settings.seed, len(batch.labels))
    trainer = Trainer(plan, batch, batch, len(tensors.classes), device.policy(recipe.precision))
    problem = ""
    try:
        while not trainer.done:
            trainer.run(trainer.step + 1)
    except DivergedError as error:
        problem = f"{error.summary}: {error.parts['found']}"
    loss, accuracy = trainer.validate()
    learned = accuracy == 1 and loss < MAX_LOSS_SHARE * np.log(len(tensors.classes))
    if not learned and not problem:
        problem = "look for equal images with different labels, or try another --learning-rate"
    return OverfitResult(
        bool(learned), len(batch.labels), trainer.step, accuracy, loss, "" if learned else problem
    )


def _batch(tensors: TensorCache) -> Split:
    train = open_split(tensors, "train")
    return Split(np.array(train.images[:IMAGES]), np.array(train.labels[:IMAGES]))
