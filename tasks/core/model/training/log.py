"""Log lines and progress reports of a training: one line per epoch, at a limited rate."""

import logging
import time

from tasks.core import shares
from tasks.core.model.training.trainer import Trainer
from tasks.core.progress import Progress

log = logging.getLogger("plumbline.train")

GPU_BATCH = 1024  # images of a step that keep a large GPU busy (docs/precision-and-gpus.md)
LOG_INTERVAL = 1.0  # minimum number of seconds between two log lines, however short the epochs are


class TrainingLog:
    """Reports the progress of one training.

    Args:
        trainer: The training, at the step at which this process starts or resumes it.
        progress: Called with epochs done after every window of steps.
    """

    def __init__(self, trainer: Trainer, progress: Progress) -> None:
        self.trainer, self.plan, self.progress = trainer, trainer.plan, progress
        self.first_step, self.started, self.last_logged = trainer.step, time.monotonic(), 0.0
        if trainer.on_gpu and self._may_have_larger_batches():
            log.info("  a GPU is faster with larger batches: --batch-size %d", GPU_BATCH)
        if self.plan.recipe.easy_left_out:
            log.info("  %s", self._left_out())

    def epoch(self, entry: dict[str, float]) -> None:
        """Log a line about an epoch.

        A line within `LOG_INTERVAL` of the previous one is left out, except the line about the last epoch.

        Args:
            entry: The epoch's entry in `Trainer.history`.
        """
        if time.monotonic() - self.last_logged < LOG_INTERVAL and not self.trainer.done:
            return
        self.last_logged = time.monotonic()
        log.info(
            "  epoch %g/%g  loss %.3f  accuracy %s  val %s  %s img/s  %s left",
            round(entry["epoch"], 2),
            round(self.plan.steps / self.plan.per_epoch, 2),
            entry["train_loss"],
            shares.percent(entry["train_accuracy"]),
            shares.percent(entry["val_accuracy"]),
            f"{entry['images_per_second']:,.0f}",
            self._time_left(),
        )

    def window(self) -> None:
        """Report epochs done, with loss, accuracy and speed of the current epoch so far."""
        loss, correct, images, seconds = self.trainer.epoch_totals
        note = f"{self._time_left()} left"
        if images:
            scores = f"loss {loss / images:.3f}, accuracy {shares.percent(correct / images)}"
            note = f"{scores}, {images / seconds:,.0f} img/s, {note}"
        self.progress(self.trainer.step / self.plan.per_epoch, self.plan.steps / self.plan.per_epoch, note)

    def _left_out(self) -> str:
        """What happens to easy images: train accuracy falls where they are left out, which surprises."""
        epochs = [
            epoch + 1 for epoch in range(self.plan.epoch(self.plan.steps)) if self.plan.leaves_out(epoch)
        ]
        if not epochs:
            return "no epoch leaves out easy images: too few epochs, or too many images for one shuffle"
        share = f"{100 * self.plan.recipe.easy_left_out:g} %"
        return (
            f"epochs {epochs[0]} to {epochs[-1]} leave out {share} of the easy images (loss below the mean): "
            "their accuracy is that of harder ones"
        )

    def _may_have_larger_batches(self) -> bool:
        """Whether batches are smaller than those for a GPU, and an epoch would still have 20 of these."""
        recipe, images = self.plan.recipe, len(self.trainer.train.labels)
        return recipe.optimizer == "muon" and recipe.batch_size < GPU_BATCH <= images / 20

    def _time_left(self) -> str:
        done = self.trainer.step - self.first_step
        seconds = (time.monotonic() - self.started) / max(1, done) * (self.plan.steps - self.trainer.step)
        return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
