"""Records of results in a shared workspace: those of handles are read, and no other one is obeyed."""

import json
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
from prefect.results import ResultRecord, ResultStore
from prefect.serializers import JSONSerializer, PickleSerializer

from tasks.core.errors import FormatError
from tasks.core.operations.doctor import diagnostics
from tasks.core.stage import publish
from tasks.core.stage.handles import Audit, Handle
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stage import Stage
from tasks.core.stage.stages import STAGES
from tasks.core.workspace import Workspace
from tasks.orchestration.result_storage import HandleStorage, checked

INGREDIENTS = Ingredients("audit", {"tensors": "abc"}, {})
KEY = "audit-0123"


class RunsWhenUnpickled:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def a_store(workspace: Workspace) -> ResultStore:
    """Prefect's store of results in the workspace, as a new process has it."""
    return ResultStore(
        result_storage=HandleStorage(basepath=str(workspace.results)), serializer=JSONSerializer()
    )


def record(workspace: Workspace) -> dict[str, Any]:
    """Write a good record as Prefect does, and return it."""
    path = f"audits/{INGREDIENTS.digest}"
    publish.publish(workspace.root / path, INGREDIENTS, lambda directory: {})
    a_store(workspace).write(Audit(path, INGREDIENTS.digest, ()), KEY)
    return dict(json.loads((workspace.results / KEY).read_bytes()))


def rewrite(workspace: Workspace, content: dict[str, Any]) -> None:
    (workspace.results / KEY).write_text(json.dumps(content))


def test_record_of_a_handle_is_read(workspace: Workspace) -> None:
    record(workspace)
    assert a_store(workspace).read(KEY).result == Audit(
        f"audits/{INGREDIENTS.digest}", INGREDIENTS.digest, ()
    )


def test_record_of_a_failed_task_is_no_damage_and_is_not_read(workspace: Workspace) -> None:
    a_store(workspace).write(OSError(28, "No space left on device"), "ab12")
    assert [finding.found for finding in diagnostics.check_files(workspace) if finding.fix] == []
    with pytest.raises(FormatError, match="no handle"):
        a_store(workspace).read("ab12")


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="the limit is POSIX's")
def test_record_that_does_not_fit_leaves_nothing(workspace: Workspace) -> None:
    """A limit on the size of files stands for a full disk: the write begins, and fails."""
    record(workspace)
    before = (workspace.results / KEY).read_bytes()
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, allowed[1]))
    try:
        for key in (KEY, "another"):
            with pytest.raises(OSError, match="too large"):
                a_store(workspace).result_storage.write_path(key, before)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
        signal.signal(signal.SIGXFSZ, ignored)
    assert [path.name for path in workspace.results.iterdir()] == [KEY]
    assert (workspace.results / KEY).read_bytes() == before


def test_pickle_in_a_record_is_not_run(workspace: Workspace, tmp_path: Path) -> None:
    mark, content = tmp_path / "mark", record(workspace)
    content["metadata"]["serializer"] = PickleSerializer().model_dump()
    pickled = PickleSerializer().dumps(RunsWhenUnpickled(mark))
    rewrite(workspace, content | {"result": pickled.decode()})
    with pytest.raises(FormatError, match="not one of Plumbline's"):
        a_store(workspace).read(KEY)
    assert not mark.exists()
    ResultRecord.deserialize((workspace.results / KEY).read_bytes())
    assert mark.exists()  # Prefect alone runs it


@pytest.mark.parametrize(
    "serializer",
    [
        {"type": "compressed/pickle"},
        {"type": "json", "object_decoder": "os.system"},
        {"type": "json", "jsonlib": "cloudpickle"},
    ],
)
def test_other_serializers_are_refused(workspace: Workspace, serializer: dict[str, str]) -> None:
    content = record(workspace)
    content["metadata"]["serializer"] = serializer
    rewrite(workspace, content)
    with pytest.raises(FormatError, match="not one of Plumbline's"):
        a_store(workspace).read(KEY)


@pytest.mark.parametrize(
    "result",
    [
        {"__class__": "subprocess.Popen", "data": ["true"]},
        {"__exc_type__": "builtins.SystemExit", "message": "bye"},
        {"__class__": "tasks.core.stage.handles.Audit", "data": {"path": {"__class__": "pathlib.Path"}}},
        ["no handle"],
    ],
)
def test_objects_that_are_no_handles_are_refused(workspace: Workspace, result: Any) -> None:
    rewrite(workspace, record(workspace) | {"result": json.dumps(result)})
    with pytest.raises(FormatError, match="not one of Plumbline's"):
        a_store(workspace).read(KEY)


def test_handle_of_a_folder_outside_of_the_workspace_is_refused(workspace: Workspace) -> None:
    publish.publish(workspace.root.parent / "elsewhere", INGREDIENTS, lambda directory: {})
    with pytest.raises(FormatError, match="is not usable"):
        Audit("../elsewhere", INGREDIENTS.digest, ())


@pytest.mark.parametrize(
    "stage", [stage for stage in STAGES if issubclass(stage.handle, Handle)], ids=lambda stage: stage.name
)
def test_handle_of_each_stage_is_read(stage: Stage[Any]) -> None:
    """One that is refused would cost its stage the cache, without a word."""
    name = f"{stage.handle.__module__}.{stage.handle.__qualname__}"
    result = json.dumps({"__class__": name, "data": {}})
    content = {"metadata": {"serializer": JSONSerializer().model_dump()}, "result": result}
    assert checked(json.dumps(content).encode())
