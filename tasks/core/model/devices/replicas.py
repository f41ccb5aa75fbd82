"""The replicas that train one model together, each on its share of every batch.

TensorFlow's strategies hold the variables and sum over replicas: MirroredStrategy over the GPUs of one
process, MultiWorkerMirroredStrategy over the processes that TF_CONFIG names. Gradients, losses and the sums
of batch statistics are summed over all replicas, so that the number of replicas changes only the order of the
additions.
"""

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tasks.core.errors import DivergedError, LostWorkerError, UsageError
from tasks.core.model.devices.tf_config import Cluster
from tasks.core.recipes import Recipe

log = logging.getLogger("plumbline.train")

# TensorFlow raises these when another process is gone, or when this process has left the cluster.
LOST_WORKER = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)

# If one process raises one of these, all processes raise it after the same sum.
RAISED_BY_ALL = (UsageError, DivergedError)


class SingleDevice:
    """One device: its share is the complete batch, and sums over replicas do nothing.

    Attributes:
        replicas: Number of replicas in all processes.
        processes: Number of processes.
        is_chief: Whether this process writes checkpoints and publishes.
    """

    replicas = 1
    processes = 1
    is_chief = True

    def scope(self) -> AbstractContextManager[Any]:
        """Context manager under which variables must be created (`tf.distribute.Strategy.scope`)."""
        return nullcontext()

    def process_share(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """This process's share of rows, int64 (..., batch), along the last axis."""
        return rows

    def replica_share(self, values: tf.Tensor) -> tf.Tensor:
        """Within `run`: this replica's share of its process's values (n, ...), along the first axis."""
        return values

    def run(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """Call `step` on every replica; it must return the same values on all of them."""
        return step(*arguments)

    def all_gather(self, values: tf.Tensor) -> tf.Tensor:
        """Within `run`: the values of all replicas, concatenated along the first axis."""
        return values

    def broadcast_bytes(self, content: bytes) -> bytes:
        """Send the chief's content to every process; returns it in each."""
        return content

    def broadcast_int(self, number: int) -> int:
        """Send the chief's number to every process; returns it in each.

        TensorFlow renumbers the sums of a compiled function at each call. Processes that call it a different
        number of times, for example in windows of different lengths, wait for each other forever.
        """
        return number

    def check_same_job(self, digest: str) -> None:
        """Check that every process is about to train the same job.

        Args:
            digest: Digest of the training's ingredients, 16 hexadecimal digits.

        Raises:
            UsageError: In every process, if one of them has another digest.
        """

    def check_batch_size(self, recipe: Recipe) -> None:
        """Check that the replicas can share the recipe's batches.

        Args:
            recipe: The recipe, fitted to the dataset.

        Raises:
            UsageError: A batch has fewer images than there are replicas, or the recipe's augmentation
                depends on their number.
        """

    @contextmanager
    def detect_lost_workers(self) -> Iterator[None]:
        """Context manager that waits at its end for all processes.

        Raises:
            LostWorkerError: Another process has gone.
        """
        yield


SINGLE_DEVICE = SingleDevice()


class ReplicaGroup(SingleDevice):
    """Several replicas, on the GPUs of one process or in several processes.

    Args:
        strategy: MirroredStrategy or MultiWorkerMirroredStrategy.
        cluster: The cluster of this process, if there are several processes. All processes have the same
            number of replicas.
    """

    def __init__(self, strategy: tf.distribute.Strategy, cluster: Cluster | None = None) -> None:
        self.strategy = strategy
        self.replicas = strategy.num_replicas_in_sync
        self.processes, self._process_index = (len(cluster.addresses), cluster.index) if cluster else (1, 0)
        self.is_chief = cluster is None or cluster.is_chief
        self._local_replicas = self.replicas // self.processes
        signature = [tf.TensorSpec((None,), tf.int64)]
        self._sum = tf.function(self._sum_graph, input_signature=signature, autograph=False)

    def scope(self) -> AbstractContextManager[Any]:
        """See `SingleDevice.scope`."""
        return self.strategy.scope()

    def process_share(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """See `SingleDevice.process_share`."""
        return rows[..., _share(self._process_index, self.processes, rows.shape[-1])]

    def replica_share(self, values: tf.Tensor) -> tf.Tensor:
        """See `SingleDevice.replica_share`."""
        count = values.shape[0] if values.shape[0] is not None else tf.shape(values)[0]
        return values[_share(_replica() % self._local_replicas, self._local_replicas, count)]

    def run(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """See `SingleDevice.run`."""
        results = self.strategy.run(step, args=arguments)
        return tf.nest.map_structure(
            lambda value: self.strategy.experimental_local_results(value)[0], results
        )

    def all_gather(self, values: tf.Tensor) -> tf.Tensor:
        """See `SingleDevice.all_gather`."""
        return tf.distribute.get_replica_context().all_gather(values, axis=0)

    def broadcast_bytes(self, content: bytes) -> bytes:
        """See `SingleDevice.broadcast_bytes`."""
        if self.processes == 1:
            return content
        length = int(self._from_chief(np.array([len(content)]))[0])
        # At least one integer, since TensorFlow's ring all-reduce crashes on an empty tensor.
        integers = np.zeros(1 + length // 8, np.int64)
        if self.is_chief:
            integers = np.frombuffer(content.ljust(8 * len(integers), b"\0"), np.int64)
        return self._from_chief(integers).tobytes()[:length]

    def broadcast_int(self, number: int) -> int:
        """See `SingleDevice.broadcast_int`."""
        return number if self.processes == 1 else int(self._from_chief(np.array([number]))[0])

    def check_same_job(self, digest: str) -> None:
        """See `SingleDevice.check_same_job`."""
        chief_digest = self.broadcast_bytes(digest.encode()).decode()
        different = self._sum_over_processes(np.array([digest != chief_digest]))[0]
        if different:
            raise UsageError(
                f"{different} of {self.processes} processes would train something else than the first",
                expected=f"training {chief_digest}, as in the first process",
                found=f"training {digest} in this process",
                done="nothing was trained",
                todo="start all processes with the same options, data and version of Plumbline",
            )

    def check_batch_size(self, recipe: Recipe) -> None:
        """See `SingleDevice.check_batch_size`."""
        if recipe.batch_size < self.replicas:
            raise UsageError(
                f"a batch of {recipe.batch_size} images cannot be shared by {self.replicas} replicas",
                todo=f"give a --batch-size of {self.replicas} or more, or train on fewer replicas",
            )
        if recipe.augment == "rotate":  # Keras' layers draw random numbers in each replica separately
            raise UsageError(
                "the textbook recipe's rotations depend on the number of replicas",
                expected="a recipe without rotations, such as fast, or textbook with --no-augment",
                todo="choose one of them, or train on one device",
            )

    @contextmanager
    def detect_lost_workers(self) -> Iterator[None]:
        """See `SingleDevice.detect_lost_workers`."""
        try:
            yield
        except RAISED_BY_ALL:
            self._barrier()
            raise
        except LOST_WORKER as error:
            raise LostWorkerError(
                "another process of the training is gone",
                expected=f"{self.processes} processes",
                found=_reason(error),
                done="this process has stopped; the last checkpoint is kept",
                todo="start every process again with the same command: training resumes from the checkpoint",
            ) from error
        self._barrier()

    def _barrier(self) -> None:
        """Wait until every process has received the last sum.

        A process that exits earlier would drop messages that others have not received. The barrier is one
        more sum. It may fail: then a process has left, so all processes had reached the barrier.
        """
        if self.processes > 1:
            with suppress(*LOST_WORKER):
                self._sum_over_processes(np.zeros(1, np.int64))

    def _from_chief(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._sum_over_processes(values if self.is_chief else np.zeros_like(values))

    def _sum_over_processes(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Sum of each process's values (n,); exact, since they are integers."""
        return np.asarray(self._sum(tf.constant(values, tf.int64)))

    def _sum_graph(self, values: tf.Tensor) -> tf.Tensor:
        def share(values: tf.Tensor) -> tf.Tensor:
            # Identity assigns the values to a device, which the strategy needs.
            is_first = _replica() % self._local_replicas == 0
            return all_reduce_sum([tf.identity(values) if is_first else tf.zeros_like(values)])[0]

        return self.run(share, values)


def _reason(error: tf.errors.OpError) -> str:
    """The line of TensorFlow's long message that names the cause."""
    lines = str(error.message).splitlines()
    causes = [line.partition("aborted by: ")[2] for line in lines if "aborted by: " in line]
    return (causes or [line for line in lines if line.strip()] or [type(error).__name__])[0][:300]


def all_reduce_sum(values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Within `run`: each value summed over all replicas; unchanged if there is only one."""
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return list(values)
    return list(context.all_reduce(tf.distribute.ReduceOp.SUM, list(values)))


def gpus(names: Sequence[str]) -> ReplicaGroup:
    """A group of replicas on devices of this process, with names such as "GPU:0"."""
    return ReplicaGroup(tf.distribute.MirroredStrategy(list(names)))


def processes(cluster: Cluster) -> ReplicaGroup:
    """A group of replicas in the cluster's processes; waits until all have started.

    Ctrl-C and SIGTERM end this process while it waits.
    """
    log.info("  %s; waiting until all have started: %s", cluster, ", ".join(cluster.addresses))
    with _interruptible():
        # No CommunicationOptions(timeout_seconds): each sum would leave a thread asleep for that time.
        return ReplicaGroup(tf.distribute.MultiWorkerMirroredStrategy(), cluster)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Use the default signal handlers: TensorFlow waits in C++, and Python's run only after the wait."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in handlers:
            signal.signal(number, signal.SIG_DFL)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _share(index: int, shares: int, count: Any) -> slice:
    """Slice `index` of `shares` slices of nearly equal size that divide `count` items."""
    return slice(index * count // shares, (index + 1) * count // shares)


def _replica() -> int:
    return int(tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group))
