"""Recipes: ways to train, with what each is expected to reach and to cost.

Accuracies are on CIFAR-10 from JPEG copies of its images, costs on 2 CPU cores; `make bench-training`
prints both anew.
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from tasks.core.config import RecipeName, TrainSettings


@dataclass(frozen=True)
class Recipe:
    """A way to train.

    Args:
        name: Its name.
        architecture: "textbook" or "whitened"; `tasks.core.model.architectures` builds them.
        widths: Channels of the convolution blocks.
        epochs: Passes over the training images.
        batch_size: Images a step.
        learning_rate: The peak.
        optimizer: "adam" (constant learning rate) or "nesterov" (one cycle).
        augment: "none", "rotate" (Keras flip, rotation 0.1, zoom 0.1) or "shift" (mirror colour images,
            shift all by up to two pixels).
        label_smoothing: Share of the target spread over all classes, 0..1.
        least_steps: Small datasets get more epochs until they have this many steps.
        balance: Whether rare classes weigh more in the loss when classes are unequal in size.
    """

    name: RecipeName
    architecture: Literal["textbook", "whitened"]
    widths: tuple[int, ...]
    epochs: float
    batch_size: int
    learning_rate: float
    optimizer: Literal["adam", "nesterov"]
    augment: Literal["none", "rotate", "shift"]
    label_smoothing: float
    least_steps: int
    balance: bool

    def parameters(self) -> dict[str, Any]:
        """JSON values, for digests and manifests."""
        return asdict(self) | {"name": self.name.value, "widths": list(self.widths)}


SEED = Recipe(
    # The textbook CNN: 67-72 % test after 10 epochs for some 600 CPU-seconds; the yardstick.
    name=RecipeName.seed,
    architecture="textbook",
    widths=(32, 64, 64),
    epochs=10,
    batch_size=32,
    learning_rate=1e-3,
    optimizer="adam",
    augment="none",
    label_smoothing=0.0,
    least_steps=0,
    balance=False,
)
FAST = Recipe(
    # Whitened stem, batch norm, one cycle: 70 % test and over for a fraction of the textbook's cost.
    name=RecipeName.fast,
    architecture="whitened",
    widths=(32, 64, 64),
    epochs=2,
    batch_size=256,
    learning_rate=0.4,
    optimizer="nesterov",
    augment="shift",
    label_smoothing=0.1,
    least_steps=600,
    balance=True,
)
RECIPES = {recipe.name: recipe for recipe in (SEED, FAST)}


def resolve(settings: TrainSettings, images: int) -> Recipe:
    """The recipe with the user's values in place of its own, fitted to a small dataset.

    A batch is at most a twentieth of the training images (at least 16); without epochs of the user's, a
    small dataset gets as many as make up the recipe's least number of steps.

    Args:
        images: Number of training images.
    """
    recipe = RECIPES[settings.recipe]
    batch_size = settings.batch_size or _fitted_batch(recipe, images)
    if settings.learning_rate is not None:
        recipe = replace(recipe, learning_rate=settings.learning_rate)
    if settings.augment is not None:
        recipe = replace(recipe, augment=_augmentation(recipe, settings.augment))
    epochs = settings.epochs or max(recipe.epochs, math.ceil(recipe.least_steps * batch_size / images))
    return replace(recipe, batch_size=min(batch_size, images), epochs=float(epochs))


def _fitted_batch(recipe: Recipe, images: int) -> int:
    if recipe.least_steps == 0:  # the textbook stays the textbook
        return recipe.batch_size
    return max(16, min(recipe.batch_size, 1 << int(math.log2(max(images / 20, 16)))))


def _augmentation(recipe: Recipe, wanted: bool) -> Literal["none", "rotate", "shift"]:
    if not wanted:
        return "none"
    return "rotate" if recipe.architecture == "textbook" else "shift"
