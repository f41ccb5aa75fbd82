"""How much the test images can tell, for whoever reads an evaluation: reports, tables, the console."""

from collections.abc import Mapping
from typing import Any

from tasks.core.evaluation import scores
from tasks.core.metrics.comparison import detectable
from tasks.core.metrics.comparison.detectable import Detectable
from tasks.core.stage.handles import Evaluation


def read(evaluation: Evaluation, evidence: Mapping[str, Any]) -> Detectable:
    """The differences that the test images can tell.

    Args:
        evaluation: The evaluation, which assumes that two models' mistakes are independent.
        evidence: The evidence of a decision; if two models were compared, how often they disagreed replaces
            the assumption.
    """
    assumed = Detectable(**scores.read_metrics(evaluation)["test"]["detectable"])
    paired = evidence.get("paired")
    if not paired:
        return assumed
    discordant = paired["challenger"] + paired["champion"]
    share = discordant / (discordant + paired["both"] + paired["neither"])
    return detectable.of_comparison(round(share * assumed.images), assumed.images, assumed.independent)
