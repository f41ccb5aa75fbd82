"""The process of a temporary Prefect server: `python -P server_process.py FACTORY OPTIONS-OF-UVICORN`.

It imports nothing of Plumbline. Before the server starts, it makes a SQLite database that does not exist.
Prefect hands each of the 34,000 statements of its migrations to a thread, which takes 3.4 to 4.2 CPU-seconds;
through a plain connection the same migrations take 1.6. They run on another file, which gets the database's
name at the end: a full disk or a killed process leaves no half of a database.
"""

import gc

gc.disable()  # 0.8 of the 3.4 CPU-seconds of the imports

import fcntl  # noqa: E402 - after the line above, as all imports
import http.client  # noqa: E402
import os  # noqa: E402
import sqlite3  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
import warnings  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import sqlalchemy  # noqa: E402
import uvicorn  # noqa: E402
from alembic.runtime.environment import EnvironmentContext  # noqa: E402
from alembic.script import ScriptDirectory  # noqa: E402
from prefect.server.api import server as _application  # noqa: E402, F401 - what uvicorn imports
from prefect.server.database import provide_database_interface  # noqa: E402
from prefect.server.database.alembic_commands import alembic_config  # noqa: E402

LOCK = ".plumbline-first-start.lock"
# As Prefect sets them (AioSqliteConfiguration), and no foreign keys while tables are copied (its env.py).
PRAGMAS = ("journal_mode = WAL", "foreign_keys = OFF", "legacy_alter_table = OFF", "synchronous = NORMAL")


def make_database(path: Path) -> None:
    """Make Prefect's database if there is none, as a whole or not at all.

    Args:
        path: The SQLite file.

    Raises:
        sqlalchemy.exc.OperationalError: It cannot be written, for instance on a full disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return
        unfinished = path.with_name(f"{path.name}.unfinished")
        _remove(unfinished)  # of a process that was killed
        try:
            migrate(unfinished)
            _publish(unfinished, path)
        finally:
            _remove(unfinished)


def migrate(path: Path) -> None:
    """Run all of Prefect's migrations on a new SQLite file, as its `_migrations/env.py` configures them."""
    database, config = provide_database_interface(), alembic_config()
    script = ScriptDirectory.from_config(config)
    script.version_locations = [str(database.orm.versions_dir)]
    engine = sqlalchemy.create_engine(sqlalchemy.URL.create("sqlite", database=str(path)))
    sqlalchemy.event.listen(engine, "connect", _set_up)
    sqlalchemy.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))

    def steps(revision: str, _: object) -> list[Any]:
        return script._upgrade_revs("head", revision)

    with (
        warnings.catch_warnings(),
        engine.connect() as connection,
        EnvironmentContext(config, script, fn=steps, destination_rev="head") as environment,
    ):
        warnings.simplefilter("ignore", sqlalchemy.exc.SAWarning)  # indexes that SQLite does not reflect
        environment.configure(
            connection=connection,
            target_metadata=database.Base.metadata,
            include_schemas=True,
            render_as_batch=True,
            transaction_per_migration=True,
            template_args={"dialect": "sqlite"},
        )
        with environment.begin_transaction():
            environment.run_migrations()
    engine.dispose()


def build_routes(port: int) -> None:
    """Ask the server for its version, once it answers: FastAPI builds its routes at the first request.

    That takes 0.3 s, in which a run would wait for its first answer.

    Args:
        port: The server's.
    """
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("GET", "/api/admin/version")
            connection.getresponse().close()
        except OSError:  # not yet
            time.sleep(0.05)
        else:
            return


def database_path() -> Path | None:
    """The file of Prefect's database; None for one in memory or of another kind."""
    url = sqlalchemy.make_url(provide_database_interface().database_config.connection_url)
    in_a_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
    return Path(str(url.database)) if in_a_file and not url.query else None


def _set_up(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # transactions begin where SQLAlchemy says so
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _publish(unfinished: Path, path: Path) -> None:
    try:
        os.link(unfinished, path)
    except FileExistsError:
        pass  # a server that is not Plumbline's has made one meanwhile
    except OSError:  # a file system without links
        unfinished.rename(path)


def _remove(database: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        database.with_name(f"{database.name}{suffix}").unlink(missing_ok=True)


if __name__ == "__main__":
    if (file := database_path()) is not None and not file.exists():
        make_database(file)
    gc.freeze()
    gc.enable()
    port = int(sys.argv[sys.argv.index("--port") + 1])
    threading.Thread(target=build_routes, args=(port,), daemon=True).start()
    uvicorn.main()
