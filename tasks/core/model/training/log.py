"""What a person hears of a training: a line an epoch, at a bounded rate, and live progress."""

import logging
import time

from tasks.core.model.training.trainer import Trainer
from tasks.core.progress import Progress

log = logging.getLogger("plumbline.train")

SAID = 1.0  # seconds between lines in the log, however short the epochs


class TrainingLog:
    """Tells of one training.

    Args:
        trainer: The training, at the step from which it goes on.
        progress: Told epochs done after every window.
    """

    def __init__(self, trainer: Trainer, progress: Progress) -> None:
        self.trainer, self.plan, self.progress = trainer, trainer.plan, progress
        self.first, self.began, self.said = trainer.step, time.monotonic(), 0.0

    def epoch(self, entry: dict[str, float]) -> None:
        """A line about an epoch, unless there was one less than a second ago; always one about the last."""
        if time.monotonic() - self.said < SAID and not self.trainer.done:
            return
        self.said = time.monotonic()
        log.info(
            "  epoch %g/%g  loss %.3f  accuracy %.1f %%  val %.1f %%  %s img/s  %s left",
            round(entry["epoch"], 2),
            round(self.plan.steps / self.plan.per_epoch, 2),
            entry["train_loss"],
            100 * entry["train_accuracy"],
            100 * entry["val_accuracy"],
            f"{entry['images_per_second']:,.0f}",
            self._left(),
        )

    def window(self) -> None:
        """Progress so far, in epochs and words."""
        loss, right, images, seconds = self.trainer.epoch_totals
        note = f"{self._left()} left"
        if images:
            figures = f"loss {loss / images:.3f}, accuracy {right / images:.1%}"
            note = f"{figures}, {images / seconds:,.0f} img/s, {note}"
        self.progress(self.trainer.step / self.plan.per_epoch, self.plan.steps / self.plan.per_epoch, note)

    def _left(self) -> str:
        done = self.trainer.step - self.first
        seconds = (time.monotonic() - self.began) / max(1, done) * (self.plan.steps - self.trainer.step)
        return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
