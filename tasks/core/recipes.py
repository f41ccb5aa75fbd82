"""Training recipes, with the test accuracy and the cost that each was measured at.

Accuracies are on CIFAR-10 from JPEG copies of its images, means of 3 seeds unless stated otherwise. Costs are
on 2 CPU cores that calculate in bfloat16. `make bench-training` measures both again.
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from tasks.core.config import Precision, RecipeName, TrainSettings


@dataclass(frozen=True)
class Recipe:
    """Architecture and hyperparameters of a training.

    Args:
        name: Name of the recipe.
        architecture: "textbook" or "whitened", which `tasks.core.model.architectures.build` builds, or
            "backbone", the upper part of a pretrained network.
        stem: Patches that a whitened network's first layer reads: "coarse" (4x4, stride 2) or "fine" (2x2,
            stride 1).
        stem_filters: Maximum number of filters in the stem, even: half are the principal components of the
            patches.
        block_widths: Channels of a whitened network's convolutions, by group. Each group halves height and
            width.
        activation: Activation of a whitened network's convolutions. "silu" (Elfwing et al., arXiv 1702.03118,
            2017) is a little more accurate than "relu" and costs more.
        drop_odd_edge: Whether pools leave out a map's odd last row and column: 15, 7 and 3 pixels a side
            instead of 16, 8 and 4, which is an eighth cheaper.
        epochs: Passes over the training images.
        batch_size: Images per step.
        learning_rate: Peak learning rate.
        optimizer: "adam", "nesterov" or "muon".
        schedule: Learning rate over the steps: "constant", or a rise and a fall ("one-cycle").
        augment: "none", "rotate" (Keras flip, rotation 0.1, zoom 0.1), "shift" (mirror colour images,
            shift all images by a few pixels) or "view" (the backbone's maps of the image or of its mirror
            image).
        max_shift: Largest shift in pixels, for images with sides of 32 pixels and more.
        label_smoothing: Share of the target that is spread over all classes, 0..1.
        tta_views: Views of a colour image that the published model averages (`architectures.views`): 2 adds
            the mirrored image, 6 adds images that are moved by a pixel.
        easy_left_out: Share of the easy images, those with a loss below the mean, that a pass over the
            images leaves out at random (`training.batches.image_order`), 0..1.
        small_image_share: Share of the steps, 0..1, that see smaller images: the first ones. Images with
            sides below 32 pixels stay as they are (`architectures.smaller_input`).
        min_steps: Small datasets get more epochs until training has this many steps.
        min_images: Or until its steps have seen this many images in all; 0 for no such end.
        logit_adjustment: Whether the classes' shares are added to the logits from the first step on when
            classes are unequal in size. A head that was fitted to the same shares has them already.
        patience: Epochs without a better validation loss after which training stops and takes the best
            epoch's weights; 0 never stops early.
        precision: Floating-point precision to calculate in.
    """

    name: RecipeName
    architecture: Literal["textbook", "whitened", "backbone"]
    epochs: float
    batch_size: int
    learning_rate: float
    optimizer: Literal["adam", "nesterov", "muon"]
    stem: Literal["coarse", "fine"] = "coarse"
    stem_filters: int = 24
    block_widths: tuple[tuple[int, ...], ...] = ()
    activation: Literal["relu", "silu"] = "relu"
    drop_odd_edge: bool = False
    schedule: Literal["constant", "one-cycle"] = "one-cycle"
    augment: Literal["none", "rotate", "shift", "view"] = "none"
    max_shift: int = 0
    label_smoothing: float = 0.0
    tta_views: Literal[1, 2, 6] = 1
    easy_left_out: float = 0.0
    small_image_share: float = 0.0
    min_steps: int = 0
    min_images: int = 0
    logit_adjustment: bool = False
    patience: int = 0
    precision: Precision = Precision.auto

    def parameters(self) -> dict[str, Any]:
        """All fields as JSON values, for digests and manifests."""
        widths = [list(group) for group in self.block_widths]
        values = {"name": self.name.value, "block_widths": widths, "precision": str(self.precision)}
        return asdict(self) | values


TEXTBOOK = Recipe(
    # The textbook CNN is the baseline: 67.5 % test for 202 CPU-seconds. The tutorial's own script reaches
    # 66.7 % for 267 (docs/benchmarks.md).
    name=RecipeName.textbook,
    architecture="textbook",
    epochs=10,
    batch_size=32,
    learning_rate=1e-3,
    optimizer="adam",
    schedule="constant",
    # Without batch norm bfloat16 is too coarse: 71 and 72 % instead of 81 and 82 % on photos (2 seeds).
    precision=Precision.float32,
)
FLASH = Recipe(
    # The textbook's accuracy at the lowest cost: 70.1 % test for 9.3 CPU-seconds, 1/35 of the textbook
    # script's cost.
    name=RecipeName.flash,
    architecture="whitened",
    block_widths=((16,), (64, 128)),
    epochs=0.7,
    batch_size=128,
    learning_rate=0.5,
    optimizer="muon",
    augment="shift",
    label_smoothing=0.1,
    tta_views=2,
    min_steps=200,
    logit_adjustment=True,
)
FAST = Recipe(
    # 80.2 % test for 78 CPU-seconds, 0.24 of the textbook script's cost.
    name=RecipeName.fast,
    architecture="whitened",
    stem_filters=48,
    block_widths=((64, 64), (128, 128)),
    epochs=2.5,
    batch_size=256,
    learning_rate=0.7,
    optimizer="muon",
    augment="shift",
    max_shift=2,
    label_smoothing=0.1,
    tta_views=2,
    min_steps=600,
    min_images=600 * 128,
    logit_adjustment=True,
)
GOOD = replace(
    # 86.1 % test for 233 CPU-seconds, 0.71 of the textbook script's cost. Fine patches and a third group keep
    # what the coarse stem loses. Batches of 256, and smaller images in the first 40 % of the steps, cost a
    # quarter less than batches of 64 images at full size. The peak learning rate is lower than in `fast`: at
    # 0.6 in batches of 128, accuracy fell from 61 to 59 % in the third of twelve epochs.
    FAST,
    name=RecipeName.good,
    stem="fine",
    stem_filters=24,
    block_widths=((32, 32), (64, 64), (128, 128)),
    drop_odd_edge=True,
    epochs=7.25,
    learning_rate=0.24,
    min_images=0,
    small_image_share=0.4,
)
BETTER = replace(
    # 90.3 % test for 953.2 CPU-seconds, 3.0 times the textbook script's cost. Half of the images with a
    # loss below the mean are left out of each pass, so that 13.5 epochs' steps see the others about 20 times.
    GOOD,
    name=RecipeName.better,
    block_widths=((32, 32), (128, 128), (256, 256, 256)),
    activation="silu",
    epochs=13.5,
    batch_size=512,
    learning_rate=0.34,
    tta_views=6,
    small_image_share=0.5,
    easy_left_out=0.5,
)
BEST = replace(
    # The widths of Jordan's network for 94 % (arXiv 2404.00498, 2024), which it reaches on the original
    # images. On JPEG copies `best` reaches 90.7 % test for 7.2 times the textbook script's cost. Jordan's
    # own recipe reaches 90.3 % on them in 8 epochs and 91.2 % in 16 (docs/experiments.md).
    GOOD,
    name=RecipeName.best,
    block_widths=((64, 64), (256, 256), (256, 256)),
    activation="silu",
    epochs=12,
    batch_size=512,
    learning_rate=0.34,
)
FINETUNE = Recipe(
    # Starts from the head of `probe` (Kumar et al., "Fine-Tuning can Distort Pretrained Features and
    # Underperform Out-of-Distribution", ICLR 2022) and trains the blocks after the backbone's trunk.
    name=RecipeName.finetune,
    architecture="backbone",
    epochs=5,
    batch_size=32,
    learning_rate=1e-3,
    optimizer="adam",
    augment="view",
    label_smoothing=0.1,
    min_steps=100,
)
RECIPES = {recipe.name: recipe for recipe in (TEXTBOOK, FLASH, FAST, GOOD, BETTER, BEST, FINETUNE)}
PRETRAINED = (RecipeName.probe, RecipeName.finetune)


def is_pretrained(name: RecipeName) -> bool:
    """Whether a recipe starts from a pretrained backbone."""
    return name in PRETRAINED


def may_be_pretrained(name: RecipeName) -> bool:
    """Whether a recipe starts, or may turn out to start, from a pretrained backbone."""
    return name is RecipeName.auto or is_pretrained(name)


def resolve(settings: TrainSettings, images: int) -> Recipe:
    """Apply the user's settings to the chosen recipe and fit it to the size of the dataset.

    `auto` is `fast` where no comparison of recipes has settled it.

    What the user leaves open is fitted as follows. A batch has at most a twentieth of the training images,
    but at least 16. A small dataset gets enough epochs for the recipe's `min_steps`, or for its `min_images`
    if that is less. The learning rate is scaled by the square root of the ratio of the batch size to the
    recipe's, since steps of small batches are noisier. Recipes with Adam keep their batch size and learning
    rate.

    Args:
        settings: The user's settings; None or "auto" leaves a value open.
        images: Number of training images.

    Returns:
        The recipe to train with; no batch is larger than the dataset.
    """
    recipe = RECIPES[FAST.name if settings.recipe is RecipeName.auto else settings.recipe]
    batch_size = min(settings.batch_size or _fitted_batch(recipe, images), images)
    learning_rate = settings.learning_rate or _fitted_rate(recipe, batch_size)
    if settings.augment is not None:
        recipe = replace(recipe, augment=_fitted_augmentation(recipe, settings.augment))
    if settings.patience is not None:
        recipe = replace(recipe, patience=settings.patience)
    if settings.precision != Precision.auto:
        recipe = replace(recipe, precision=settings.precision)
    epochs = settings.epochs or _fitted_epochs(recipe, batch_size, images)
    return replace(recipe, batch_size=batch_size, learning_rate=learning_rate, epochs=float(epochs))


def _fitted_batch(recipe: Recipe, images: int) -> int:
    if recipe.optimizer == "adam":
        return recipe.batch_size
    return max(16, min(recipe.batch_size, 1 << int(math.log2(max(images / 20, 16)))))


def _fitted_rate(recipe: Recipe, batch_size: int) -> float:
    if recipe.optimizer == "adam":
        return recipe.learning_rate
    return round(recipe.learning_rate * math.sqrt(batch_size / recipe.batch_size), 6)


def _fitted_epochs(recipe: Recipe, batch_size: int, images: int) -> float:
    enough = recipe.min_steps * batch_size
    if recipe.min_images:
        enough = min(enough, recipe.min_images)
    min_epochs = enough / images
    return recipe.epochs if recipe.epochs >= min_epochs else math.ceil(min_epochs)


def _fitted_augmentation(recipe: Recipe, enabled: bool) -> Literal["none", "rotate", "shift", "view"]:
    if recipe.architecture == "backbone":
        return "view"  # of its maps the network takes one view at a time
    if not enabled:
        return "none"
    return "rotate" if recipe.architecture == "textbook" else "shift"
