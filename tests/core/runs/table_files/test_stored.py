"""Tables of a workspace in a store, with two mirrors on a real S3 server (moto)."""

import pandas as pd
import pytest

from tasks.core.runs import tables
from tests.support.servers.s3_client import Machine
from tests.support.servers.s3_server import ADDRESS, Bucket


@pytest.mark.slow
def test_tables_two_machines_share_rows(machine: Machine, other_machine: Machine, bucket: Bucket) -> None:
    for number, writer in enumerate((machine, other_machine), 1):
        frame = pd.DataFrame([{"test_accuracy": number / 10}])
        tables.append("runs", "animals", f"r{number}", frame, writer.fake().workspace)
    for reader in (machine, other_machine):
        assert sorted(tables.read("runs", reader.fake().workspace)["test_accuracy"]) == [0.1, 0.2]
    bucket.forget()
    tables.read("runs", other_machine.fake().workspace)
    assert bucket.count("GET", "parquet") == 0
    direct = pd.read_parquet(f"{ADDRESS}/metrics/runs")
    assert sorted(direct["run_id"]) == ["r1", "r2"]


def test_tables_append_uploads_parts_of_a_killed_run(
    machine: Machine, other_machine: Machine, bucket: Bucket
) -> None:
    workspace = machine.fake().workspace
    tables.append("runs", "animals", "r1", pd.DataFrame([{"test_accuracy": 0.1}]), workspace)
    bucket.client.delete_object(Bucket="plumb", Key="team/ws/metrics/runs/dataset=animals/r1.parquet")
    tables.append("runs", "animals", "r2", pd.DataFrame([{"test_accuracy": 0.2}]), workspace)
    assert set(tables.read("runs", other_machine.fake().workspace)["run_id"]) == {"r1", "r2"}
