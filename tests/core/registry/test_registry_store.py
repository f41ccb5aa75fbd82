"""The registry of a workspace in a store, with two mirrors on a real S3 server (moto)."""

import json
from collections.abc import Callable

import pytest

from tasks.core.errors import NetworkError, RegistryError
from tasks.core.operations.doctor import diagnostics
from tasks.core.registry import commit_files, listing, registry, retention
from tasks.core.registry.promotion import decisions
from tests.support.processes.concurrent_publishers import check, publish_concurrently
from tests.support.servers.s3_client import Machine
from tests.support.servers.s3_server import Bucket, half_visible

pytestmark = pytest.mark.slow


def just_before(bucket: Bucket, machine: Machine, folder: str, file: str, act: Callable[[], object]) -> None:
    """Let another machine act when this one first writes such a file below the folder."""
    waiting = [act]

    def gate(method: str, name: str) -> bool:
        if method == "PUT" and f"/{folder}/" in name and name.endswith(file) and waiting:
            waiting.pop()()
            machine.fake()
        return True

    bucket.gate = gate


def test_registry_two_machines_share_versions_and_aliases(
    machine: Machine, other_machine: Machine, bucket: Bucket
) -> None:
    assert machine.publish("one").version == "v0001"
    assert other_machine.names() == ["v0001"]
    assert other_machine.publish("two").version == "v0002"
    other_machine.promote("v0001")
    assert machine.names() == ["v0001", "v0002"]
    assert machine.aliases() == {"champion": "v0001"}
    machine.promote("v0002")
    assert other_machine.aliases() == {"champion": "v0002", "previous": "v0001"}
    assert registry.resolve("animals", "champion", other_machine.fake().workspace).version == "v0002"
    assert registry.datasets(other_machine.fake().workspace) == ["animals"]
    assert half_visible(bucket.objects()) == []
    log = registry.history("animals", machine.fake().workspace)
    assert [line["action"] for line in log] == ["publish", "publish", "promote", "promote"]
    assert log == registry.history("animals", other_machine.fake().workspace)


def test_version_rows_download_no_model(machine: Machine, other_machine: Machine, bucket: Bucket) -> None:
    machine.publish("one")
    workspace = other_machine.fake().workspace
    bucket.forget()
    (row,) = listing.version_rows(workspace)
    assert row["test accuracy"].endswith("%")
    assert bucket.count("GET", r"model\.keras$") == 0
    assert registry.resolve("animals", "v0001", workspace).manifest["facts"]["version"] == "v0001"
    assert bucket.count("GET", r"model\.keras$") == 1


def test_aliases_without_changes_cost_one_listing(machine: Machine, bucket: Bucket) -> None:
    machine.publish("one")
    machine.promote("v0001")
    bucket.forget()
    assert machine.aliases() == {"champion": "v0001"}
    assert bucket.requests == [("GET", "")]


def test_publish_number_taken_by_another_machine_uses_the_next(
    machine: Machine, other_machine: Machine, bucket: Bucket
) -> None:
    """The other machine publishes while this one uploads its model under the same number."""
    fake = machine.fake()
    handles = fake.trained("one"), fake.evaluation("one", skill=2.0)
    just_before(bucket, machine, "v0001", "model.keras", lambda: other_machine.publish("two"))
    facts = {"classes": list(fake.classes), "shape": list(fake.shape)}
    version = registry.publish(*handles, "animals", facts, fake.workspace, who="ann")
    assert version.version == "v0002"
    assert (version.directory / "model.keras").read_text() == "one"
    first = registry.resolve("animals", "v0001", fake.workspace)
    assert (first.directory / "model.keras").read_text() == "two"
    assert half_visible(bucket.objects()) == []
    entries = registry.history("animals", fake.workspace)
    assert [(line["version"], line["who"]) for line in entries] == [("v0001", "ann"), ("v0002", "ann")]


def test_the_same_model_published_by_two_machines_is_one_intact_version(
    machine: Machine, other_machine: Machine, bucket: Bucket
) -> None:
    """The files are the same, the manifests are not: they have the time and the cost of each machine."""
    fake = machine.fake()
    handles = fake.trained("one"), fake.evaluation("one", skill=2.0)
    just_before(bucket, machine, "v0001", "manifest.json", lambda: other_machine.publish("one"))
    facts = {"classes": list(fake.classes), "shape": list(fake.shape)}
    assert registry.publish(*handles, "animals", facts, fake.workspace, who="ann").version == "v0001"
    for each in (other_machine, machine):
        workspace = each.fake().workspace
        assert registry.resolve("animals", "v0001", workspace).version == "v0001"
        assert [finding.found for finding in diagnostics.check_files(workspace) if finding.fix] == []
        (entry,) = registry.history("animals", workspace)
        assert entry["who"] == "ann"


def test_promote_concurrent_promotion_raises(
    machine: Machine, other_machine: Machine, bucket: Bucket
) -> None:
    machine.publish("one")
    other_machine.publish("two")
    workspace = machine.fake().workspace
    # Between the pull and the commit of this machine.
    just_before(bucket, machine, "commits", "", lambda: other_machine.promote("v0002"))
    with pytest.raises(RegistryError, match="has become champion in the meantime"):
        registry.promote("animals", "v0001", workspace, who="bob", why="", expected_champion="")
    assert machine.aliases() == other_machine.aliases() == {"champion": "v0002"}


def test_a_decision_that_is_repeated_after_a_conflict_keeps_its_evidence(
    machine: Machine, other_machine: Machine, bucket: Bucket
) -> None:
    """The refused attempt has left the evidence in the folder of this machine."""
    model = machine.publish("one").model_sha256
    workspace = machine.fake().workspace
    just_before(bucket, machine, "commits", "", lambda: other_machine.promote("v0001"))
    line = {"challenger": model, "champion": "", "test_set": "none", "looked": False, "promoted": True}
    decisions.record_decision(line | {"who": "ann", "why": "good"}, {"paired": 1}, "animals", workspace)
    other = other_machine.fake().workspace
    assert decisions.evidence_of(model, "animals", other) == {"paired": 1}
    assert [finding.found for finding in diagnostics.check_files(other) if finding.fix] == []


def test_a_promotion_that_another_machine_forestalls_is_recorded_once_as_not_done(
    machine: Machine, other_machine: Machine, bucket: Bucket
) -> None:
    machine.publish("one")
    machine.publish("two")
    # Between the decision and the commit of this machine.
    just_before(bucket, machine, "commits", "", lambda: other_machine.promote("v0002"))
    decided = machine.decide("one", skill=1.0)
    assert (decided.promoted, decided.champion) == (False, "v0002")
    (line,) = decisions.read_decisions("animals", other_machine.fake().workspace)
    assert (line["promoted"], line["why"]) == (False, decided.verdict)
    assert "not done: another model of animals has become champion in the meantime" in line["why"]


def test_promote_champion_of_another_machine_is_compared_again(
    machine: Machine, other_machine: Machine
) -> None:
    """Both were trained when there was no champion; the other machine is first, and its model is better."""
    assert other_machine.decide("two", skill=4.0).promoted
    first = machine.decide("one", skill=1.0)
    assert (first.promoted, first.champion_changed, first.champion) == (False, True, "v0001")
    assert "became champion during this run" in first.verdict
    again = machine.decide("one", 1.0, "two", 4.0)
    assert (again.version, again.promoted, again.champion_changed) == ("v0002", False, False)
    assert not other_machine.decide("two", skill=4.0).champion_changed  # the champion itself
    assert "paired" in again.evidence
    lines = decisions.read_decisions("animals", other_machine.fake().workspace)
    assert [line["looked"] for line in lines] == [False, False, True]
    assert decisions.evidence_of(
        lines[-1]["challenger"], "animals", other_machine.fake().workspace
    ) == json.loads(json.dumps(again.evidence))


def test_publish_deleted_number_is_not_used_again(
    machine: Machine, other_machine: Machine, bucket: Bucket
) -> None:
    machine.publish("one")
    machine.publish("two")
    other_machine.names()
    retention.delete("animals", "v0002", machine.fake().workspace, who="ann", why="bad")
    assert [name for name in bucket.objects() if "/v0002/" in name] == ["models/animals/v0002/manifest.json"]
    assert other_machine.names() == ["v0001"]
    assert not (other_machine.fake().workspace.models / "animals" / "v0002").exists()
    assert other_machine.publish("three").version == "v0003"


def test_publish_number_deleted_meanwhile_is_not_used(
    machine: Machine, other_machine: Machine, bucket: Bucket
) -> None:
    fake = machine.fake()
    handles = fake.trained("one"), fake.evaluation("one", skill=2.0)

    def publish_and_delete() -> None:
        other_machine.publish("two")
        retention.delete("animals", "v0001", other_machine.fake().workspace, who="bob", why="bad")

    just_before(bucket, machine, "v0001", "model.keras", publish_and_delete)
    facts = {"classes": list(fake.classes), "shape": list(fake.shape)}
    assert registry.publish(*handles, "animals", facts, fake.workspace).version == "v0002"
    assert machine.names() == other_machine.names() == ["v0002"]


def test_publish_network_failure_leaves_no_version(
    machine: Machine, other_machine: Machine, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    bucket.gate = lambda method, name: method != "PUT" or not name.startswith("models/")
    with pytest.raises(NetworkError, match="could not be written"):
        machine.publish("one")
    assert other_machine.names() == machine.names() == []
    bucket.gate = lambda *_: True
    assert machine.publish("one").version == "v0001"
    assert other_machine.names() == ["v0001"]


def test_notes_are_shared_between_machines(machine: Machine, other_machine: Machine) -> None:
    version = machine.publish("one")
    notes = version.directory.parent / "card_notes.md"
    notes.write_text("## Intended use\nSorting parcels.\n")
    machine.promote("v0001")
    second = other_machine.publish("two")
    assert "Sorting parcels." in (second.directory / "model_card.md").read_text()
    other_notes = second.directory.parent / "card_notes.md"
    other_notes.write_text("## Intended use\nSorting letters.\n")
    other_machine.promote("v0002")
    machine.aliases()
    assert "letters" in notes.read_text()


def findings(machine: Machine) -> list[str]:
    results = diagnostics.run_checks(machine.fake().workspace, 0.0)
    return [f"{finding.found}: {finding.fix}" for finding in results if finding.about == "store"]


def test_run_checks_reports_problems_in_the_store(
    machine: Machine, other_machine: Machine, bucket: Bucket
) -> None:
    machine.publish("one")
    (complete,) = findings(other_machine)
    assert complete.startswith("all 5 directories at s3://plumb/team/ws are complete")
    names = list(bucket.objects())
    (model,) = (name for name in names if name.endswith("model.keras") and name.startswith("models"))
    bucket.client.delete_object(Bucket="plumb", Key=f"team/ws/{model}")
    bucket.client.put_object(Bucket="plumb", Key="team/ws/tensors/abc/def/x.npy", Body=bytes(2_000_000))
    bucket.client.create_multipart_upload(Bucket="plumb", Key="team/ws/tensors/abc/def/y.npy")
    broken, orphans, unfinished = findings(other_machine)
    assert broken == "models/animals/v0001 lacks model.keras: restore its objects"
    assert orphans.startswith("2.0 MB in 1 folders belong to no manifest, such as tensors/abc/def")
    assert "tensors/abc/def/y.npy" in unfinished


def test_publish_two_writers_with_mirrors_and_kills(machine: Machine, bucket: Bucket) -> None:
    fake = machine.fake()
    publish_concurrently(fake, writers=2, models=2, kills_wanted=1, seed=1, patience=120)
    check(fake, 4)
    assert half_visible(bucket.objects()) == []


@pytest.mark.stress
@pytest.mark.timeout(3600)
def test_publish_six_writers_with_mirrors_and_kills(
    machine: Machine, other_machine: Machine, bucket: Bucket
) -> None:
    fake = machine.fake()
    kills = publish_concurrently(fake, writers=6, models=10, kills_wanted=20, seed=2, patience=1500)
    print(f"{kills} kills")
    check(fake, 60)
    assert half_visible(bucket.objects()) == []
    check(other_machine.fake(), 60)
    names = (name.rpartition("/commits/")[2] for name in bucket.objects())
    numbers = sorted(int(name[:8]) for name in names if commit_files.NUMBERED.fullmatch(name))
    assert numbers == list(range(1, len(numbers) + 1))
