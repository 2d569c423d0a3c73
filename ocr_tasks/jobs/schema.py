"""schema.sql put into a database, as it stands."""

from __future__ import annotations

from importlib import resources

from sqlalchemy import Connection, text

from ocr_tasks.jobs.database import Database

# Any number: it keeps two processes that start together from creating the same table twice.
SCHEMA_LOCK = 0x0C12


def schema_sql() -> str:
    """The text of schema.sql, which travels with the package."""
    return resources.files("ocr_tasks").joinpath("schema.sql").read_text(encoding="utf-8")


def apply_schema(database: Database) -> None:
    """Create what is missing, in the schema that the settings name; safe to call at every start.

    Raises ServiceUnavailable when Postgres cannot be reached within the database's patience.
    """

    def apply(connection: Connection) -> None:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": SCHEMA_LOCK})
        connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{database.schema}"'))
        connection.exec_driver_sql(schema_sql())

    database.run(apply)
