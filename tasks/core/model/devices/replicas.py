"""The replicas that train one model together, each on its share of every batch.

TensorFlow's own strategies hold the variables and add up over replicas: MirroredStrategy over the GPUs of
one process, MultiWorkerMirroredStrategy over the processes that TF_CONFIG names. What one replica calculates
is a share of what one device would: gradients, losses and the sums behind batch statistics are added
up over all replicas, so that their number changes nothing but the order of the additions.
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

# How TensorFlow tells that another process is gone, or that this one's part in the cluster has ended.
LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)

# What every process raises after the same sum, if one does.
SHARED = (UsageError, DivergedError)


class SingleDevice:
    """One device: it has every share, and nothing to add up."""

    replicas = 1
    processes = 1
    is_chief = True

    def scope(self) -> AbstractContextManager[Any]:
        """In which variables are made."""
        return nullcontext()

    def process_share(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """This process's share of rows (..., batch), along the last axis."""
        return rows

    def replica_share(self, values: tf.Tensor) -> tf.Tensor:
        """Within `run`: this replica's part of its process's share (n, ...)."""
        return values

    def run(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """Call `step` on every replica; it must give the same on all of them."""
        return step(*arguments)

    def all_gather(self, values: tf.Tensor) -> tf.Tensor:
        """Within `run`: the replicas' values one after the other, along the first axis."""
        return values

    def broadcast_bytes(self, content: bytes) -> bytes:
        """The leader's content, in every process."""
        return content

    def broadcast_int(self, number: int) -> int:
        """The leader's number, in every process.

        TensorFlow numbers the sums of a compiled function anew at each call: processes that call it
        another number of times, say in windows of other lengths, wait for each other for ever.
        """
        return number

    def check_same_job(self, digest: str) -> None:
        """Go on only if every process is about to train the same.

        Args:
            digest: 16 hexadecimal digits of all that the training follows from.

        Raises:
            UsageError: In every process, if one of them has another digest.
        """

    def check_batch_size(self, recipe: Recipe) -> None:
        """Whether the replicas can share the recipe's work.

        Raises:
            UsageError: They cannot.
        """

    @contextmanager
    def detect_lost_workers(self) -> Iterator[None]:
        """In which a process that is gone shows as `LostWorkerError`; left when all have come to its end."""
        yield


SINGLE_DEVICE = SingleDevice()


class ReplicaGroup(SingleDevice):
    """Several replicas.

    Args:
        strategy: MirroredStrategy or MultiWorkerMirroredStrategy.
        cluster: This process's place in it, if there are several processes. All have equally many replicas.
    """

    def __init__(self, strategy: tf.distribute.Strategy, cluster: Cluster | None = None) -> None:
        self.strategy = strategy
        self.replicas = strategy.num_replicas_in_sync
        self.processes, self._index = (len(cluster.addresses), cluster.index) if cluster else (1, 0)
        self.is_chief = cluster is None or cluster.is_chief
        self._local = self.replicas // self.processes
        signature = [tf.TensorSpec((None,), tf.int64)]
        self._sum = tf.function(self._sum_of_processes, input_signature=signature, autograph=False)

    def scope(self) -> AbstractContextManager[Any]:
        return self.strategy.scope()

    def process_share(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return rows[..., _share(self._index, self.processes, rows.shape[-1])]

    def replica_share(self, values: tf.Tensor) -> tf.Tensor:
        count = values.shape[0] if values.shape[0] is not None else tf.shape(values)[0]
        return values[_share(_replica() % self._local, self._local, count)]

    def run(self, step: Callable[..., Any], *arguments: Any) -> Any:
        given = self.strategy.run(step, args=arguments)
        return tf.nest.map_structure(lambda value: self.strategy.experimental_local_results(value)[0], given)

    def all_gather(self, values: tf.Tensor) -> tf.Tensor:
        return tf.distribute.get_replica_context().all_gather(values, axis=0)

    def broadcast_bytes(self, content: bytes) -> bytes:
        if self.processes == 1:
            return content
        length = int(self._from_leader(np.array([len(content)]))[0])
        words = np.zeros(1 + length // 8, np.int64)  # never none: TensorFlow's ring dies of an empty tensor
        if self.is_chief:
            words = np.frombuffer(content.ljust(8 * len(words), b"\0"), np.int64)
        return self._from_leader(words).tobytes()[:length]

    def broadcast_int(self, number: int) -> int:
        return number if self.processes == 1 else int(self._from_leader(np.array([number]))[0])

    def check_same_job(self, digest: str) -> None:
        leaders = self.broadcast_bytes(digest.encode()).decode()
        others = self._summed(np.array([digest != leaders]))[0]
        if others:
            raise UsageError(
                f"{others} of {self.processes} processes would train something else than the first",
                expected=f"training {leaders}, as the first process",
                found=f"here {digest}",
                done="nothing was trained",
                todo="start all processes with the same options, data and version of Plumbline",
            )

    def check_batch_size(self, recipe: Recipe) -> None:
        if recipe.batch_size < self.replicas:
            raise UsageError(
                f"a batch of {recipe.batch_size} images cannot be shared by {self.replicas} replicas",
                todo=f"give a --batch-size of {self.replicas} or more, or train on fewer replicas",
            )
        if recipe.augment == "rotate":  # drawn by Keras' layers, in each replica for itself
            raise UsageError(
                "the textbook recipe's rotations depend on the number of replicas",
                expected="a recipe whose result does not: flash, fast, good, best, or seed with --no-augment",
                todo="choose one of them, or train on one device",
            )

    @contextmanager
    def detect_lost_workers(self) -> Iterator[None]:
        try:
            yield
        except SHARED:
            self._barrier()
            raise
        except LOST as error:
            raise LostWorkerError(
                "another process of the training is gone",
                expected=f"{self.processes} processes",
                found=_reason(error),
                done="this process has stopped; the last checkpoint is kept",
                todo="start every process again with the same command: training goes on from the checkpoint",
            ) from error
        self._barrier()

    def _barrier(self) -> None:
        """Wait until every process has the last sum: who leaves sooner takes along what others still fetch.

        By one more sum, which tells the same if it fails: somebody has left, so all had begun it.
        """
        if self.processes > 1:
            with suppress(*LOST):
                self._summed(np.zeros(1, np.int64))

    def _from_leader(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._summed(values if self.is_chief else np.zeros_like(values))

    def _summed(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Sum over the processes, (n,); of integers, so exact."""
        return np.asarray(self._sum(tf.constant(values, tf.int64)))

    def _sum_of_processes(self, values: tf.Tensor) -> tf.Tensor:
        def share(values: tf.Tensor) -> tf.Tensor:
            # Identity gives the values a device, which the strategy wants to know.
            counts = _replica() % self._local == 0
            return all_reduce_sum([tf.identity(values) if counts else tf.zeros_like(values)])[0]

        return self.run(share, values)


def _reason(error: tf.errors.OpError) -> str:
    """The line of TensorFlow's many that says what happened."""
    lines = str(error.message).splitlines()
    said = [line.partition("aborted by: ")[2] for line in lines if "aborted by: " in line]
    return (said or [line for line in lines if line.strip()] or [type(error).__name__])[0][:300]


def all_reduce_sum(values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Within `run`: each value added up over all replicas; as it is where there is only one."""
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return list(values)
    return list(context.all_reduce(tf.distribute.ReduceOp.SUM, list(values)))


def gpus(names: Sequence[str]) -> ReplicaGroup:
    """The devices of this process, such as "GPU:0"."""
    return ReplicaGroup(tf.distribute.MirroredStrategy(list(names)))


def processes(cluster: Cluster) -> ReplicaGroup:
    """The cluster's processes, once all of them are there; until then Ctrl-C and SIGTERM end this one."""
    log.info("  %s; waiting until all are there: %s", cluster, ", ".join(cluster.addresses))
    with _interruptible():
        # No CommunicationOptions(timeout_seconds): each sum would leave a thread asleep that long.
        return ReplicaGroup(tf.distribute.MultiWorkerMirroredStrategy(), cluster)


@contextmanager
def _interruptible() -> Iterator[None]:
    """TensorFlow waits in C++, where Python's own handlers would only be heard when it is over."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            signal.signal(number, signal.SIG_DFL)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _share(number: int, of: int, count: Any) -> slice:
    """The number-th of so many slices of `count` things, as equal as can be."""
    return slice(number * count // of, (number + 1) * count // of)


def _replica() -> int:
    return int(tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group))
