"""The inputs of a run's report."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tasks.core.config import NON_OUTPUT_PARAMETERS
from tasks.core.registry.promotion import decisions
from tasks.core.stage.handles import (
    Audit,
    CrossValidation,
    Decision,
    Evaluation,
    Exports,
    FeatureAudit,
    Features,
    FinalModel,
    Handle,
    LabelIssues,
    RawDataset,
    Selection,
    TensorCache,
    TrainedModel,
)
from tasks.core.stage.saliency import Saliency
from tasks.core.stage.stage import Stage
from tasks.core.stage.stages import STAGES
from tasks.core.workspace import Workspace


class Scores(Protocol):
    """An evaluation with the images that it is of: what the sections about test images read."""

    @property
    def tensors(self) -> TensorCache:
        """The images."""

    @property
    def evaluation(self) -> Evaluation:
        """Their evaluation."""


@dataclass(frozen=True)
class ReportInputs:
    """The outputs and facts of a run that its report shows.

    Args:
        raw: The downloaded source.
        tensors: The tensors.
        audit: The audit of the tensors.
        trained: The model.
        evaluation: The model's evaluation.
        decision: The promotion decision.
        facts: Facts of the run, JSON values: parameters, stages (name -> state, seconds), run_id, started,
            git_commit, packages, device, python; each may be missing. Of these, only the parameters decide
            whether an existing report is reused.
        exported: The model in other formats; None without exports.
        label_issues: Images whose label is likely wrong; None if the stage did not run.
        features: Features of the images; None for recipes that train from scratch.
        selected: The comparison of recipes; None if the recipe was given.
        feature_audit: The audit by features; None without features.
        saliency: Class activation maps; None if the stage did not run.
        cross_validation: Scores over all images; None if the stage did not run.
        final_model: The model of all images; None if the stage did not run.
    """

    raw: RawDataset
    tensors: TensorCache
    audit: Audit
    trained: TrainedModel
    evaluation: Evaluation
    decision: Decision
    facts: Mapping[str, Any] = field(default_factory=dict)
    exported: Exports | None = None
    label_issues: LabelIssues | None = None
    features: Features | None = None
    selected: Selection | None = None
    feature_audit: FeatureAudit | None = None
    saliency: Saliency | None = None
    cross_validation: CrossValidation | None = None
    final_model: FinalModel | None = None

    def handles(self) -> list[tuple[Stage[Any], Handle]]:
        """The outputs of the run, each with its stage, in the order of the stages."""
        outputs = [value for value in vars(self).values() if isinstance(value, Handle)]
        return [(stage, handle) for stage in STAGES for handle in outputs if type(handle) is stage.handle]

    @property
    def whole_audit(self) -> Audit:
        """The audit with all pairs and leaks that were found, by pixels and by features."""
        return self.feature_audit or self.audit

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings of the audit and of the audit by features."""
        return self.audit.findings + (self.feature_audit.findings if self.feature_audit else ())

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of the run that decide its outcome."""
        parameters = dict(self.facts.get("parameters", {}))
        return {name: value for name, value in parameters.items() if name not in NON_OUTPUT_PARAMETERS}

    @property
    def test_set_uses(self) -> int:
        """How many pairs of models were compared on the test images so far."""
        return decisions.test_set_uses(
            self.tensors.dataset, decisions.test_set(self.tensors), Workspace.active()
        )
