"""What the user can set of the decision: the class that matters, promises, costs, a prevalence."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tasks.core.checked_settings import Checked, limited
from tasks.core.errors import UsageError
from tasks.core.workspace import expanded

NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
PAIR_OF_COSTS = re.compile(rf"(?:fn={NUMBER},fp={NUMBER}|fp={NUMBER},fn={NUMBER})")


@dataclass(frozen=True)
class DecisionSettings(Checked):
    """How probabilities become decisions.

    Args:
        positive: The class that the curves, the prevalence and --cost fn=..,fp=.. are about. Default: the
            first one of --least-recall or --least-precision; of two classes the rarer one.
        least_recall: A class and the recall that its threshold must keep on new images, such as
            melanoma=0.95. The threshold is chosen and proven on the val images. May be repeated.
        least_precision: A class and the precision that its threshold must keep, such as melanoma=0.9. May
            be repeated.
        cost: What mistakes cost: fn=10,fp=1 (missed, and falsely called --positive), or a CSV file with
            class names as its header and first column: a row for each true class, a column for each
            predicted one. The class with the lowest expected cost is predicted.
        prevalence: Share of the positive class where the model will be used, above 0 and at most 1; the
            report gives the predictive values for it, too.
    """

    GROUP: ClassVar[str] = "Decision"

    positive: str | None = None
    least_recall: tuple[str, ...] = ()
    least_precision: tuple[str, ...] = ()
    cost: str | None = None
    prevalence: float | None = limited(None, above=0, high=1)

    def __post_init__(self) -> None:
        """Refuse what cannot be read, and what excludes another."""
        super().__post_init__()
        promised = [name for _, name, _ in self.promises()]
        twice = next((name for name in promised if promised.count(name) > 1), None)
        if twice is not None:
            raise UsageError("a class has one threshold", expected="one promise", found=f"two for {twice}")
        if promised and self.cost:
            raise UsageError(
                "--cost excludes --least-recall and --least-precision", todo="leave out one of them"
            )
        if self.pair_of_costs() and self.positive is None:
            raise UsageError(
                "--cost fn=..,fp=.. is about one class", expected="--positive CLASS", found="no --positive"
            )
        if self.pair_of_costs() == (0.0, 0.0):
            raise UsageError("--cost says that no mistake costs anything", expected="a cost above 0")

    def promises(self) -> list[tuple[str, str, float]]:
        """The promises: recall or precision, the class, and the least value; recall first."""
        given = [("recall", text) for text in self.least_recall]
        given += [("precision", text) for text in self.least_precision]
        return [(measure, *_promise(measure, text)) for measure, text in given]

    def pair_of_costs(self) -> tuple[float, float] | None:
        """The costs of a missed and of a false positive; None without --cost, or with a file.

        Raises:
            UsageError: `cost` looks like neither a pair nor a file.
        """
        if self.cost is None:
            return None
        found = PAIR_OF_COSTS.fullmatch(self.cost.replace(" ", ""))
        if found:
            missed, false, false_first, missed_second = found.groups()
            return float(missed or missed_second), float(false or false_first)
        if self.cost.lower().endswith(".csv"):
            return None
        raise UsageError(
            "--cost cannot be read", expected="fn=10,fp=1, or a file with the ending .csv", found=self.cost
        )

    @property
    def cost_file(self) -> Path | None:
        """The CSV file with the costs, if there is one."""
        return expanded(self.cost) if self.cost and self.pair_of_costs() is None else None


def _promise(measure: str, text: str) -> tuple[str, float]:
    name, _, value = text.rpartition("=")
    if not name or not re.fullmatch(NUMBER, value) or not 0 < float(value) < 1:
        raise UsageError(
            f"--least-{measure} cannot be read",
            expected="CLASS=NUMBER with a number between 0 and 1, such as melanoma=0.95",
            found=text,
        )
    return name, float(value)
