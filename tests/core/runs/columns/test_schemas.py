from tasks.core.runs.columns import schemas


def test_schemas_every_column_has_a_meaning() -> None:
    for name, schema in schemas.SCHEMAS.items():
        assert schema.metadata == {b"plumbline_schema": b"2"}
        lines = schemas.columns_markdown(name).splitlines()
        assert len(lines) == len(schema) + 2
        assert all(len(line.split(" | ")[2]) > 5 for line in lines[2:])
