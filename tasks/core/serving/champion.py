"""Follows an alias of the registry: loads a new version beside the old one, then answers with it."""

import asyncio
import logging
from collections.abc import Callable

from tasks.core.errors import PlumblineError
from tasks.core.registry import layout
from tasks.core.serving import served_model
from tasks.core.serving.served_model import DecisionOptions, ServedModel
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.serve")


class FollowedModel:
    """The model that answers now.

    Args:
        dataset: The dataset.
        name: A version, which stays, or an alias, which is followed.
        options: How the model decides.
        workspace: The workspace with the registry.

    Attributes:
        current: The model.
        problem: Why the alias's version does not answer; empty if it does.

    Raises:
        RegistryError, UsageError: See `served_model.load`.
    """

    def __init__(self, dataset: str, name: str, options: DecisionOptions, workspace: Workspace) -> None:
        self.dataset, self.name, self.options, self.workspace = dataset, name, options, workspace
        self.current: ServedModel = served_model.load(dataset, name, options, workspace)
        self.problem = ""
        self.swaps = 0

    async def follow(self, seconds: float, on_swap: Callable[[ServedModel], None] = lambda _: None) -> None:
        """Look at the alias every so many seconds, until cancelled; a version never changes.

        Args:
            seconds: Time between two looks.
            on_swap: Is called with each new model.
        """
        while self.is_followed:
            await asyncio.sleep(seconds)
            try:
                loaded = await asyncio.to_thread(self._newer)
            except (PlumblineError, OSError) as error:
                self._report(error.summary if isinstance(error, PlumblineError) else str(error))
                continue
            except Exception as error:  # a model file that Keras cannot load: the old model goes on
                self._report(f"{type(error).__name__}: {error}")
                continue
            self.problem = ""
            if loaded is not None:
                log.info("%s: %s answers now", self.dataset, loaded.version.version)
                self.current, self.swaps = loaded, self.swaps + 1
                on_swap(loaded)

    @property
    def is_followed(self) -> bool:
        """Whether the name is an alias, which may come to mean another version."""
        return not (layout.VERSION.fullmatch(self.name) or self.name.isdecimal())

    def _newer(self) -> ServedModel | None:
        """The version of the alias, if it is another one than the current."""
        directory = layout.synced_folder(self.dataset, self.workspace)
        version = layout.find_version(self.dataset, self.name, directory)
        if version == self.current.version.version:
            return None
        return served_model.load(self.dataset, version, self.options, self.workspace)

    def _report(self, problem: str) -> None:
        if problem != self.problem:
            answering = self.current.version.version
            log.warning("%s: %s; %s goes on answering", self.dataset, problem, answering)
        self.problem = problem
