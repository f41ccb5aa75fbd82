"""Promote: publish the new model as a version and decide whether it becomes champion."""

from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.core.config import PromotePolicy
from tasks.core.operations import provenance
from tasks.core.registry.promotion import promotion
from tasks.core.registry.promotion.terms import RegressionBudget
from tasks.core.stage.handles import (
    Decision,
    Evaluation,
    Exports,
    FinalModel,
    ModelVersion,
    Profile,
    TensorCache,
    TrainedModel,
)
from tasks.core.workspace import Workspace


@task(
    task_run_name="promote {tensors.dataset}",
    # Never cached: the answer depends on who is champion now.
    cache_policy=NO_CACHE,
    persist_result=False,
)
def promote(
    trained: TrainedModel,
    evaluation: Evaluation,
    champion: Evaluation | None,
    tensors: TensorCache,
    policy: PromotePolicy,
    facts: dict[str, Any],
    exported: Exports | None = None,
    profiled: Profile | None = None,
    final: FinalModel | None = None,
    no_loss_of: tuple[str, ...] = (),
    no_worse_in: tuple[str, ...] = (),
    refresh: bool = False,
) -> Decision:
    """Publish the model as a version and decide whether it becomes champion.

    Args:
        trained: The model.
        evaluation: Its scores.
        champion: The champion's scores on the same images; None if there is none to compare with.
        tensors: The images.
        policy: When to promote.
        facts: What the version's manifest and card say of the run; JSON values.
        exported: The model in other formats.
        profiled: The description of the model's images.
        final: A model of all images, which lies beside the version's own and is compared with none.
        no_loss_of: Classes that must be proven to lose no recall.
        no_worse_in: Columns of the data whose slices must not lose.
        refresh: Ignored: the decision is never reused.
    """
    return promotion.promote(
        trained,
        evaluation,
        champion,
        policy,
        tensors,
        facts,
        Workspace.active(),
        who=provenance.who(),
        budget=RegressionBudget(no_loss_of=no_loss_of, no_worse_in=no_worse_in),
        exported=exported,
        profiled=profiled,
        final=final,
    )


def champion_to_compare(trained: TrainedModel, tensors: TensorCache) -> ModelVersion | None:
    """The champion that has to be scored on the same images, if there is one to compare with."""
    return promotion.champion_to_compare(tensors.dataset, tensors, trained, Workspace.active())
