"""Which recipes `--recipe auto` compares: as many as the budget allows, by an estimate made beforehand.

The estimate follows from the number of images and the machine, so that the same images give the same
candidates on the same machine. Only the probe is trained where no difference could be
proven on so few images.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tasks.core import recipes
from tasks.core.config import RecipeName, TrainSettings
from tasks.core.data.tensors.cache import read_rows
from tasks.core.data.tensors.folds import train_members
from tasks.core.model.backbones import catalog
from tasks.core.model.devices import gpu
from tasks.core.model.training.train import HELD_OUT_FOLDS
from tasks.core.stage.handles import TensorCache

COMPARED, OVER_BUDGET, TOO_FEW = "compared", "over budget", "too few images"
# If one recipe is right and the other is wrong on each of so many images, p is 2 * 0.5^6 = 0.03; on fewer
# images it is above 0.05, so that nothing tells recipes apart.
FEWEST = 6
SMALL = 64  # pixels; pictures with a shorter side (median) are no photos for a backbone
FROM_SCRATCH = RecipeName.fast
# CPU-seconds for one training pass of one image by `fast`, measured at 96 px (600 steps of 128 in 123 s).
PASS_SECONDS, PASS_SIDE = 1.6e-3, 96
COMPARED_SHARE = 0.8  # a candidate is trained on that share of the images before the comparison
CORE_USE = 0.8  # share of the cores that a training uses
GPU_FACTOR = 20.0  # a GPU is assumed to be as fast as so many cores


@dataclass(frozen=True)
class Candidate:
    """A recipe that may be compared.

    Args:
        recipe: Its name.
        minutes: Estimated time of its comparison and of its training on all images.
        state: COMPARED, or why it is not.
    """

    recipe: RecipeName
    minutes: float
    state: str


def settled(settings: TrainSettings, tensors: TensorCache) -> TrainSettings:
    """The settings, with `auto` replaced where no comparison is needed: small pictures go to `fast`."""
    if settings.recipe is RecipeName.auto and has_small_pictures(tensors):
        return replace(settings, recipe=FROM_SCRATCH)
    return settings


def without_auto(settings: TrainSettings) -> TrainSettings:
    """The settings, with `auto` replaced by the recipe that trains from scratch."""
    if settings.recipe is RecipeName.auto:
        return replace(settings, recipe=FROM_SCRATCH)
    return settings


def has_small_pictures(tensors: TensorCache) -> bool:
    """Whether half of the pictures have a shorter side below `SMALL` pixels."""
    rows = read_rows(tensors, ["height", "width"])
    return bool(np.median(np.minimum(rows["height"].to_numpy(), rows["width"].to_numpy())) < SMALL)


def plan(settings: TrainSettings, tensors: TensorCache) -> list[Candidate]:
    """The candidates, cheapest first. The probe is always compared; others while the budget lasts."""
    left, planned, are_few = settings.budget, [], are_too_few(tensors)
    for recipe, seconds in _cpu_seconds(settings, tensors).items():
        minutes = seconds / speed() / 60
        state = COMPARED
        if recipe is not RecipeName.probe:
            state = TOO_FEW if are_few else COMPARED if minutes <= left else OVER_BUDGET
        left -= minutes if state == COMPARED else 0
        planned.append(Candidate(recipe, round(minutes, 2), state))
    return planned


def are_too_few(tensors: TensorCache) -> bool:
    """Whether recipes would be compared on fewer than `FEWEST` images: those of val, and some held out."""
    if tensors.val >= FEWEST:
        return False
    return int(tensors.val + train_members(tensors, 0, HELD_OUT_FOLDS).sum()) < FEWEST


def compared(candidates: Sequence[Candidate]) -> list[RecipeName]:
    """The recipes that are compared."""
    return [candidate.recipe for candidate in candidates if candidate.state == COMPARED]


def speed() -> float:
    """How many cores' work this machine does at the same time."""
    if gpu.nvidia_gpu_count():
        return GPU_FACTOR
    return CORE_USE * (os.cpu_count() or 1)


def _cpu_seconds(settings: TrainSettings, tensors: TensorCache) -> dict[RecipeName, float]:
    """Estimated CPU-seconds of each candidate's comparison and training."""
    backbone = catalog.find(settings.backbone)
    side = float(np.sqrt(tensors.shape[0] * tensors.shape[1])) / PASS_SIDE
    per_pass = {RecipeName.finetune: backbone.pass_seconds} if backbone.trunk else {}
    per_pass |= {FROM_SCRATCH: PASS_SECONDS * side**2}
    seconds = {RecipeName.probe: 1.0}
    for name, seconds_per_pass in per_pass.items():
        recipe = recipes.resolve(replace(settings, recipe=name), tensors.train)
        passes = recipe.epochs * tensors.train
        seconds[name] = (1 + COMPARED_SHARE) * passes * seconds_per_pass
    return seconds
