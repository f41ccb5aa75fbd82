"""What a report is about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.core.config import NON_OUTPUT_PARAMETERS
from tasks.core.registry import decisions
from tasks.core.stage.handles import (
    Audit,
    Decision,
    Evaluation,
    Exports,
    Handle,
    LabelIssues,
    RawDataset,
    TensorCache,
    TrainedModel,
)
from tasks.core.stage.stages import STAGES, Stage
from tasks.core.workspace import Workspace


@dataclass(frozen=True)
class ReportInputs:
    """A run, as its report sees it.

    Args:
        raw, tensors, audit, trained, evaluation, decision: The run's handles.
        facts: Of the run; JSON values. parameters, stages (name -> state, seconds), run_id, started,
            git_commit, packages, device, python; each may be missing. Only the parameters decide whether
            a report is made anew.
        exported: The model in other formats, if any was asked for.
        suspects: Images whose label is likely wrong.
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

    def handles(self) -> list[tuple[Stage[Any], Handle]]:
        """The outputs that the run has, each with its stage, in the order of the stages."""
        outputs = [value for value in vars(self).values() if isinstance(value, Handle)]
        return [(stage, handle) for stage in STAGES for handle in outputs if type(handle) is stage.handle]

    @property
    def parameters(self) -> dict[str, Any]:
        given = dict(self.facts.get("parameters", {}))
        return {name: value for name, value in given.items() if name not in NON_OUTPUT_PARAMETERS}

    @property
    def test_set_uses(self) -> int:
        """How often the test images have decided between two models so far."""
        return decisions.test_set_uses(
            self.tensors.dataset, decisions.test_set(self.tensors), Workspace.active()
        )
