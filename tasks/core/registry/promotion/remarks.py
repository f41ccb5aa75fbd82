"""What a decision says besides its comparison: the champion's scores, and those without a model."""

from dataclasses import replace

from tasks.core.evaluation import scores
from tasks.core.metrics.comparison import baseline
from tasks.core.metrics.declared.declarations import METRICS
from tasks.core.registry.promotion.gate import GateDecision
from tasks.core.stage.handles import Evaluation


def with_scores(
    decided: GateDecision, evaluation: Evaluation, champion_evaluation: Evaluation | None
) -> GateDecision:
    """Add the champion's scores to the evidence, and to the verdict that no model would do as well."""
    evidence = dict(decided.evidence)
    if champion_evaluation is not None:
        scored = scores.read_metrics(champion_evaluation)["test"]
        evidence["champion_scores"] = {
            metric.key: scored[metric.key] for metric in METRICS if metric.key in scored
        }
    return replace(decided, verdict=with_remark(decided.verdict, evaluation), evidence=evidence)


def with_remark(verdict: str, evaluation: Evaluation) -> str:
    """A verdict that says, too, that no model would do as well."""
    remark = baseline.remark(scores.read_metrics(evaluation)["test"])
    return "; ".join(filter(None, [verdict, remark]))
