"""A check before a long training: a network that cannot overfit one batch will not learn a dataset.

A. Karpathy, "A Recipe for Training Neural Networks" (2019): "overfit a single batch".
"""

from dataclasses import dataclass, replace

import numpy as np

from tasks.core import recipes, shares
from tasks.core.config import TrainSettings
from tasks.core.data.tensors.cache import Split, open_split
from tasks.core.errors import DivergedError
from tasks.core.model.devices import runtime
from tasks.core.recipes import Recipe
from tasks.core.stage.handles import TensorCache

IMAGES = 64  # maximum batch size; every recipe has the capacity to memorize it
STEPS = 300
MAX_LOSS_SHARE = 0.1  # maximum loss to pass, as a share of the loss of guessing


@dataclass(frozen=True)
class OverfitResult:
    """Result of overfitting one batch.

    Args:
        passed: Whether the network memorized the batch.
        images: Number of images in the batch.
        steps: Steps trained.
        accuracy: Accuracy on the batch, 0..1, of the network as it would be published.
        loss: Cross-entropy on the batch; guessing gives log(classes).
        problem: Why the check failed; empty if it passed.
    """

    passed: bool
    images: int
    steps: int
    accuracy: float
    loss: float
    problem: str = ""

    def __str__(self) -> str:
        correct = f"{shares.percent(self.accuracy)} of {shares.counted(self.images, 'image')} right"
        outcome = f"{correct} after {self.steps} steps, loss {self.loss:.3g}"
        return f"pass: {outcome}" if self.passed else f"fail: {outcome}; {self.problem}"


def overfit_batch(tensors: TensorCache, settings: TrainSettings) -> OverfitResult:
    """Train the recipe on one batch of at most 64 training images and check that it memorizes them.

    Augmentation, label smoothing, views, logit adjustment and early stopping are off, since they
    work against overfitting. The check takes seconds and writes nothing.

    Args:
        tensors: Tensor cache with the training images.
        settings: Settings of the training to check.

    Returns:
        The result; a diverged training fails with its reason.
    """
    with runtime.quiet_tensorflow():
        from tasks.core.model.devices import device
        from tasks.core.model.training.steps import StepPlan
        from tasks.core.model.training.trainer import Trainer

    batch = _batch(tensors)
    recipe = _memorizing(recipes.resolve(settings, tensors.train), len(batch.labels))
    plan = StepPlan.of(recipe, settings.seed, len(batch.labels))
    trainer = Trainer(plan, batch, batch, len(tensors.classes), device.policy(recipe.precision))
    problem = ""
    try:
        while not trainer.done:
            trainer.run(trainer.step + 1)
    except DivergedError as error:
        problem = f"{error.summary}: {error.parts['found']}"
    loss, accuracy = trainer.validate()
    passed = accuracy == 1 and loss < MAX_LOSS_SHARE * np.log(len(tensors.classes))
    if not passed and not problem:
        problem = "look for equal images with different labels, or try another --learning-rate"
    return OverfitResult(
        bool(passed), len(batch.labels), trainer.step, accuracy, loss, "" if passed else problem
    )


def _memorizing(recipe: Recipe, images: int) -> Recipe:
    """The recipe for one batch, without what works against overfitting."""
    return replace(
        recipe,
        batch_size=images,
        epochs=float(STEPS),
        augment="none",
        label_smoothing=0.0,
        tta_views=1,
        easy_left_out=0.0,
        logit_adjustment=False,
        patience=0,
    )


def _batch(tensors: TensorCache) -> Split:
    train = open_split(tensors, "train")
    return Split(np.array(train.images[:IMAGES]), np.array(train.labels[:IMAGES]))
