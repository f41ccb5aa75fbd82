"""Handles of choices: the recipe that was chosen, its score over all images, and the champion."""

from dataclasses import dataclass
from typing import Any

from tasks.core import shares
from tasks.core.stage.handles.handle import Handle


@dataclass(frozen=True)
class Selection(Handle):
    """The recipe that `auto` has chosen: `candidates.parquet` has all that were compared.

    Args:
        recipe: The name of the recipe.
        accuracy: Its accuracy on images that no candidate had seen, 0..1.
        low, high: 95 % interval of the accuracy.
        images: Number of these images.
    """

    recipe: str
    accuracy: float
    low: float
    high: float
    images: int

    def __str__(self) -> str:
        interval = shares.interval(self.low, self.high)
        images = shares.counted(self.images, "unseen image")
        return f"{self.recipe}: {shares.percent(self.accuracy)} ({interval}) of {images}"


@dataclass(frozen=True)
class CrossValidation(Handle):
    """Scores over all images, each predicted by a model that has not seen it.

    `leaderboard.parquet` has each recipe, `predictions.parquet` each image.

    Args:
        recipe: The recipe that was scored; "auto" if it was chosen anew in each fold.
        accuracy: 0..1.
        low, high: 95 % interval of the accuracy; groups count as groups.
        images: Number of images.
        groups: Number of groups of images that belong together; an image alone is one.
        folds: Number of folds.
        final_recipe: The recipe that all images choose: that of the model of all images.
        notes: What limits the score, a sentence each.
    """

    recipe: str
    accuracy: float
    low: float
    high: float
    images: int
    groups: int
    folds: int
    final_recipe: str
    notes: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """What a version says of it; JSON values."""
        names = ("recipe", "accuracy", "low", "high", "images", "groups", "folds", "digest")
        return {name: getattr(self, name) for name in names}

    def __str__(self) -> str:
        interval = shares.interval(self.low, self.high)
        images = shares.counted(self.images, "image")
        return f"{self.recipe}: {shares.percent(self.accuracy)} ({interval}) of all {images}"


@dataclass(frozen=True)
class Decision:
    """What the gate decided and the registry did. It has no directory, so it checks nothing.

    Args:
        version: The challenger's version.
        champion: The champion's version after the decision; empty if there is none.
        promoted: Whether the challenger is the champion now.
        verdict: The decision as text.
        evidence: The numbers that it is based on; JSON values.
        champion_changed: Whether another run changed the champion before this model was compared with it.
    """

    version: str
    champion: str
    promoted: bool
    verdict: str
    evidence: dict[str, Any]
    champion_changed: bool = False

    def __str__(self) -> str:
        return f"{self.version}: {self.verdict}"
