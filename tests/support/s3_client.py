"""Machines that share a workspace in a store, each with a mirror of its own, all in this process."""

from pathlib import Path

import pytest

from tasks.core.config import PromotePolicy
from tasks.core.registry import layout, promotion, registry
from tasks.core.stage.handles import Decision, ModelVersion
from tasks.core.storage.mirror import open_workspace
from tasks.core.workspace import MIRRORS
from tests.support.fake_outputs import FakeOutputs
from tests.support.s3_server import ADDRESS


class Machine:
    """A machine with a mirror of its own."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._place, self._patch = place, monkeypatch

    def fake(self) -> FakeOutputs:
        """Work on this machine from now on."""
        self._patch.setenv(MIRRORS, str(self._place))
        return FakeOutputs(open_workspace(ADDRESS), classes=("no", "yes"), images=60)

    def publish(self, name: str) -> ModelVersion:
        fake = self.fake()
        facts = {"classes": list(fake.classes), "shape": list(fake.shape)}
        scored = fake.evaluation(name, skill=2.0)
        return registry.publish(fake.trained(name), scored, "animals", facts, fake.workspace, who="ann")

    def promote(self, version: str) -> None:
        registry.promote("animals", version, self.fake().workspace, who="ann", why="good")

    def names(self) -> list[str]:
        return layout.version_names(layout.synced_folder("animals", self.fake().workspace))

    def aliases(self) -> dict[str, str]:
        return registry.aliases("animals", self.fake().workspace)

    def decide(self, name: str, skill: float, rival: str = "", rival_skill: float = 0.0) -> Decision:
        fake = self.fake().made(images=200)
        facts = {"classes": list(fake.classes), "shape": list(fake.shape)}
        return promotion.promote(
            fake.trained(name),
            fake.evaluation(name, skill),
            fake.evaluation(rival, rival_skill) if rival else None,
            PromotePolicy.better,
            fake.tensors(),
            facts,
            fake.workspace,
            who="ann",
        )
