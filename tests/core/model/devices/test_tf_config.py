"""Reading the cluster from TF_CONFIG."""

import json

import pytest

from tasks.core.errors import UsageError
from tasks.core.model.devices import tf_config
from tasks.core.model.devices.tf_config import Cluster
from tasks.core.model.training import cross_predict


def config(task_type: str, index: int, **jobs: list[str]) -> str:
    """TF_CONFIG of one process of a cluster."""
    return json.dumps({"cluster": jobs, "task": {"type": task_type, "index": index}})


@pytest.mark.parametrize(
    ("text", "cluster", "is_chief"),
    [
        (config("worker", 0, worker=["a:1", "b:1"]), Cluster(("a:1", "b:1"), 0), True),
        (config("worker", 1, worker=["a:1", "b:1"]), Cluster(("a:1", "b:1"), 1), False),
        (config("chief", 0, chief=["c:1"], worker=["a:1"]), Cluster(("c:1", "a:1"), 0), True),
        (config("worker", 0, chief=["c:1"], worker=["a:1"]), Cluster(("c:1", "a:1"), 1), False),
    ],
)
def test_this_cluster_chief_is_the_chief_or_the_first_worker(
    monkeypatch: pytest.MonkeyPatch, text: str, cluster: Cluster, is_chief: bool
) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    assert tf_config.this_cluster() == cluster
    assert cluster.is_chief is is_chief
    assert tf_config.is_worker() is not is_chief
    with pytest.raises(UsageError, match="a cluster trains one model"):
        cross_predict.check_folds(5)
    with pytest.raises(UsageError, match="--cross-validate is not for a training cluster"):
        tf_config.refuse_cluster("--cross-validate")


@pytest.mark.parametrize("text", ["", "{}", '{"cluster": {}}', config("worker", 0, worker=["a:1"])])
def test_this_cluster_with_one_process_is_none(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    assert tf_config.this_cluster() is None
    assert not tf_config.is_worker()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "JSONDecodeError"),
        ("[1]", "AttributeError"),
        (config("worker", 2, worker=["a:1", "b:1"]), "worker 2 of 2"),
        (config("worker", -1, worker=["a:1", "b:1"]), "worker -1 of 2"),
        (config("boss", 0, worker=["a:1", "b:1"]), "KeyError: 'boss'"),
        (config("worker", 0, worker=["a:1"], ps=["b:1"]), "only chief and worker"),
        (json.dumps({"cluster": {"worker": ["a:1", "b:1"]}}), "KeyError: 'index'"),
    ],
)
def test_this_cluster_with_invalid_tf_config_raises(
    monkeypatch: pytest.MonkeyPatch, text: str, problem: str
) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UsageError, match="TF_CONFIG") as raised:
        tf_config.this_cluster()
    assert problem in raised.value.parts["found"]
    assert not tf_config.is_worker()
