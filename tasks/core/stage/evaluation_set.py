"""The handle of the images that a published version is evaluated on."""

from dataclasses import dataclass, field

from tasks.core import shares
from tasks.core.stage.handles import TensorCache


@dataclass(frozen=True)
class EvaluationSet(TensorCache):
    """Labelled images as a published version takes them; all of them are in the split "test".

    The classes are those of the version, in its order. A class may have no image.

    Args:
        source_images: Number of images of the source, or of the asked split of it.
        unknown: By class that the version does not know, the number of images that were left out.
        trained: Number of images that were left out because the version was trained on them.
        chosen: Number of images that were left out because choices of the version's training were made on
            them: its val images.
        own_test: Number of images that are test images of the version's own run; they are scored.
        shared_groups: Number of images whose group has other images among the version's train or val images;
            they are scored.
        not_checked: Why it could not be checked, or only in part, what the version has seen; empty if it was.
    """

    source_images: int = 0
    unknown: dict[str, int] = field(default_factory=dict)
    trained: int = 0
    chosen: int = 0
    own_test: int = 0
    shared_groups: int = 0
    not_checked: str = ""

    def __str__(self) -> str:
        height, width, channels = self.shape
        groups = f" of {shares.counted(self.groups[-1], 'group')}" if self.groups else ""
        left_out = self.source_images - self.test
        aside = f", {left_out:,} left out" if left_out else ""
        return f"{shares.counted(self.test, 'image')}{groups}, {height}x{width}x{channels}{aside}"

    def remarks(self) -> list[str]:
        """What was left out, what could not be checked, and what limits the score; a sentence each."""
        return [
            *_unknown(self.unknown, self.classes),
            *_if(self.trained, "left out: the version was trained on {}"),
            *_if(self.chosen, "left out: choices of the version's training were made on {} (its val images)"),
            *_if(self.quarantined, "left out: {} cannot be used, see quarantine.parquet"),
            *_if(self.own_test, "scored, but no new evidence: {} of the test split of the version's own run"),
            *_if(
                self.shared_groups,
                "scored, perhaps too well: {} of groups that the version has seen other images of",
            ),
            *([f"what the version has seen: {self.not_checked}"] if self.not_checked else []),
        ]


def _if(count: int, sentence: str) -> list[str]:
    return [sentence.format(shares.counted(count, "image"))] if count else []


def _unknown(unknown: dict[str, int], known: tuple[str, ...], most: int = 10) -> list[str]:
    """The classes that were left out; with a class of the version whose name differs in case or blanks."""
    named = [f"{name} ({count:,}{_alike(name, known)})" for name, count in unknown.items()]
    more = f" and {len(named) - most:,} more" if len(named) > most else ""
    classes = "a class" if len(named) == 1 else "classes"
    return _if(
        sum(unknown.values()),
        f"left out: {{}} of {classes} that the version does not know: {', '.join(named[:most])}{more}",
    )


def _alike(name: str, known: tuple[str, ...]) -> str:
    alike = [each for each in known if each.strip().casefold() == name.strip().casefold()]
    return f"; perhaps its {alike[0]!r}" if alike else ""
