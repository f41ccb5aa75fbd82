"""Machines in this process that share a workspace in a store, each with its own mirror."""

from pathlib import Path

import pytest

from tasks.core.config import PromotePolicy
from tasks.core.registry import layout, registry
from tasks.core.registry.promotion import promotion
from tasks.core.stage.handles import Decision, ModelVersion
from tasks.core.storage.workspaces import open_workspace
from tasks.core.workspace import MIRRORS
from tests.support.fake_outputs import FakeOutputs
from tests.support.servers.s3_server import ADDRESS


class Machine:
    """A simulated machine with its own mirror.

    Args:
        mirrors: Directory of the machine's mirrors.
        monkeypatch: Sets the environment variable of the mirror.
    """

    def __init__(self, mirrors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._mirrors, self._patch = mirrors, monkeypatch

    def fake(self) -> FakeOutputs:
        """Switch this process to the machine; returns fake outputs in the shared workspace."""
        self._patch.setenv(MIRRORS, str(self._mirrors))
        return FakeOutputs(open_workspace(ADDRESS), classes=("no", "yes"), images=60)

    def publish(self, name: str) -> ModelVersion:
        """Publish a model from this machine."""
        fake = self.fake()
        facts = {"classes": list(fake.classes), "shape": list(fake.shape)}
        evaluation = fake.evaluation(name, skill=2.0)
        return registry.publish(fake.trained(name), evaluation, "animals", facts, fake.workspace, who="ann")

    def promote(self, version: str) -> None:
        """Promote a version from this machine."""
        registry.promote("animals", version, self.fake().workspace, who="ann", why="good")

    def names(self) -> list[str]:
        """Names of the versions that this machine sees."""
        return layout.version_names(layout.synced_folder("animals", self.fake().workspace))

    def aliases(self) -> dict[str, str]:
        """The aliases that this machine sees."""
        return registry.aliases("animals", self.fake().workspace)

    def decide(self, name: str, skill: float, champion: str = "", champion_skill: float = 0.0) -> Decision:
        """Publish a model from this machine, compare it with `champion`, and decide."""
        fake = self.fake().with_fields(images=200)
        facts = {"classes": list(fake.classes), "shape": list(fake.shape)}
        return promotion.promote(
            fake.trained(name),
            fake.evaluation(name, skill),
            fake.evaluation(champion, champion_skill) if champion else None,
            PromotePolicy.better,
            fake.tensors(),
            facts,
            fake.workspace,
            who="ann",
        )
