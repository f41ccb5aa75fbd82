"""Recipes: ways to train, with what each is expected to reach and to cost.

Accuracies are on CIFAR-10 from JPEG copies of its images (means of 3 seeds unless said otherwise), costs on 2
CPU cores that calculate in bfloat16; `make bench-training` prints both anew.
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from tasks.core.config import Precision, RecipeName, TrainSettings


@dataclass(frozen=True)
class Recipe:
    """A way to train.

    Args:
        name: Its name.
        architecture: "textbook" or "whitened"; `tasks.core.model.architectures.build` builds them.
        stem: "coarse" patches (4x4, every second pixel) or "fine" ones (2x2), of a whitened net.
        stem_filters: Of the stem, at most, even: half are the principal components of the patches.
        block_widths: Channels of a whitened net's convolutions, by group; each group halves height and width.
        drop_odd_edge: Whether pools leave out a map's odd last row and column: 15, 7 and 3 pixels a side
            instead of 16, 8 and 4, which is an eighth cheaper.
        epochs: Passes over the training images.
        batch_size: Images a step.
        learning_rate: The peak.
        optimizer: "adam" (constant learning rate), "nesterov" or "muon" (one cycle).
        augment: "none", "rotate" (Keras flip, rotation 0.1, zoom 0.1) or "shift" (mirror colour images,
            shift all by a few pixels).
        max_shift: Largest shift in pixels, for sides of 32 and more.
        label_smoothing: Share of the target spread over all classes, 0..1.
        tta_views: Views of a colour image that the published model averages; 2 means also mirrored.
        min_steps: Small datasets get more epochs until they have this many steps.
        logit_adjustment: Whether rare classes must win by a margin in training when classes are unequal in
            size.
        patience: Epochs without a better validation loss after which training stops and takes the best
            epoch's weights; 0 never stops early.
        precision: What to calculate in.
    """

    name: RecipeName
    architecture: Literal["textbook", "whitened"]
    epochs: float
    batch_size: int
    learning_rate: float
    optimizer: Literal["adam", "nesterov", "muon"]
    stem: Literal["coarse", "fine"] = "coarse"
    stem_filters: int = 24
    block_widths: tuple[tuple[int, ...], ...] = ()
    drop_odd_edge: bool = False
    augment: Literal["none", "rotate", "shift"] = "none"
    max_shift: int = 0
    label_smoothing: float = 0.0
    tta_views: Literal[1, 2] = 1
    min_steps: int = 0
    logit_adjustment: bool = False
    patience: int = 0
    precision: Precision = Precision.auto

    def parameters(self) -> dict[str, Any]:
        """JSON values, for digests and manifests."""
        widths = [list(group) for group in self.block_widths]
        values = {"name": self.name.value, "block_widths": widths, "precision": str(self.precision)}
        return asdict(self) | values


TEXTBOOK = Recipe(
    # The textbook CNN, 67-72 % test: the yardstick. As a tutorial's script 66.7 % for 282 CPU-seconds.
    name=RecipeName.textbook,
    architecture="textbook",
    epochs=10,
    batch_size=32,
    learning_rate=1e-3,
    optimizer="adam",
    # Without batch norms bfloat16 is too coarse: 71 and 72 instead of 81 and 82 % on photos (2 seeds).
    precision=Precision.float32,
)
FLASH = Recipe(
    # The textbook's accuracy as cheaply as it can be had: 70.3 % test for 10.7 CPU-seconds, a 26th of the
    # textbook script's.
    name=RecipeName.flash,
    architecture="whitened",
    block_widths=((16,), (64, 128)),
    epochs=0.7,
    batch_size=64,
    learning_rate=0.4,
    optimizer="muon",
    augment="shift",
    label_smoothing=0.1,
    tta_views=2,
    min_steps=400,
    logit_adjustment=True,
)
FAST = Recipe(
    # 80.4 % test for 93 CPU-seconds, a third of the textbook script's.
    name=RecipeName.fast,
    architecture="whitened",
    stem_filters=48,
    block_widths=((64, 64), (128, 128)),
    epochs=3,
    batch_size=128,
    learning_rate=0.6,
    optimizer="muon",
    augment="shift",
    max_shift=2,
    label_smoothing=0.1,
    tta_views=2,
    min_steps=600,
    logit_adjustment=True,
)
GOOD = replace(
    # Fine patches and a third group keep what the coarse stem loses: 86.2 % test for 346 CPU-seconds, 1.23
    # times the textbook script's. A lower peak than fast's: at 0.6 training fell back from 61 to 59 % in the
    # third of twelve epochs.
    FAST,
    name=RecipeName.good,
    stem="fine",
    stem_filters=24,
    block_widths=((32, 32), (64, 64), (128, 128)),
    drop_odd_edge=True,
    epochs=8,
    batch_size=64,
    learning_rate=0.12,
)
BEST = replace(
    # The widths of Jordan's net for 94 % (arXiv 2404.00498, 2024), which it reaches on the original images.
    # On JPEG copies 90.4 % test (one seed) in 28 minutes of 2 cores; 96.8 % of the training images were right
    # by then, so that more of regularization and not of width would be next.
    GOOD,
    name=RecipeName.best,
    block_widths=((64, 64), (256, 256), (256, 256)),
    epochs=12,
    batch_size=128,
    learning_rate=0.17,
)
RECIPES = {recipe.name: recipe for recipe in (TEXTBOOK, FLASH, FAST, GOOD, BEST)}


def resolve(settings: TrainSettings, images: int) -> Recipe:
    """The recipe with the user's values in place of its own, fitted to a small dataset.

    A batch is at most a twentieth of the training images (at least 16); without epochs of the user's, a
    small dataset gets as many as make up the recipe's least number of steps. Without a learning rate of the
    user's, another batch size than the recipe's scales it, by the square root of their ratio: the steps of
    small batches are noisier. The textbook recipe stays the textbook.

    Args:
        images: Number of training images.
    """
    recipe = RECIPES[settings.recipe]
    batch_size = min(settings.batch_size or _fitted_batch(recipe, images), images)
    learning_rate = settings.learning_rate or _fitted_rate(recipe, batch_size)
    if settings.augment is not None:
        recipe = replace(recipe, augment=_augmentation(recipe, settings.augment))
    if settings.patience is not None:
        recipe = replace(recipe, patience=settings.patience)
    if settings.precision != Precision.auto:
        recipe = replace(recipe, precision=settings.precision)
    epochs = settings.epochs or _fitted_epochs(recipe, batch_size, images)
    return replace(recipe, batch_size=batch_size, learning_rate=learning_rate, epochs=float(epochs))


def _fitted_batch(recipe: Recipe, images: int) -> int:
    if recipe.architecture == "textbook":
        return recipe.batch_size
    return max(16, min(recipe.batch_size, 1 << int(math.log2(max(images / 20, 16)))))


def _fitted_rate(recipe: Recipe, batch_size: int) -> float:
    if recipe.architecture == "textbook":
        return recipe.learning_rate
    return round(recipe.learning_rate * math.sqrt(batch_size / recipe.batch_size), 6)


def _fitted_epochs(recipe: Recipe, batch_size: int, images: int) -> float:
    needed = recipe.min_steps * batch_size / images
    return recipe.epochs if recipe.epochs >= needed else math.ceil(needed)


def _augmentation(recipe: Recipe, wanted: bool) -> Literal["none", "rotate", "shift"]:
    if not wanted:
        return "none"
    return "rotate" if recipe.architecture == "textbook" else "shift"
