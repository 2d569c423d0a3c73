"""schema.sql is the truth, and the mappings say the same."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.schema import apply_schema
from ocr_tasks.models import Base
from ocr_tasks.settings import Settings

COLUMNS = """
SELECT table_name, column_name, data_type, udt_name, is_nullable, column_default, is_identity, identity_generation
  FROM information_schema.columns WHERE table_schema = :schema ORDER BY 1, 2
"""
CONSTRAINTS = """
SELECT conrelid::regclass::text AS table, contype, conname, pg_get_constraintdef(oid) AS definition
  FROM pg_constraint WHERE connamespace = cast(:schema AS regnamespace) AND contype <> 'n' ORDER BY 1, 2, 3
"""
INDEXES = "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = :schema ORDER BY 1, 2"


@pytest.fixture
def mapped(settings: Settings) -> Iterator[Database]:
    """A database schema built from the mappings alone."""
    name = f"mapped_{uuid.uuid4().hex[:12]}"
    database = Database(settings.model_copy(update={"db_schema": name}))
    with database.engine.begin() as connection:
        connection.execute(text(f'CREATE SCHEMA "{name}"'))
        Base.metadata.create_all(connection)
    yield database
    database.close()


def described(db: Database, query: str) -> list[dict[str, object]]:
    rows = [dict(row) for row in db.all(query, schema=db.schema)]
    return [{key: _without(db.schema, value) for key, value in row.items()} for row in rows]


def _without(schema: str, value: object) -> object:
    return value.replace(f"{schema}.", "") if isinstance(value, str) else value


@pytest.mark.parametrize("query", [COLUMNS, CONSTRAINTS, INDEXES], ids=["columns", "constraints", "indexes"])
def test_the_mappings_build_what_schema_sql_builds(db: Database, mapped: Database, query: str) -> None:
    from_sql = described(db, query)
    assert from_sql
    assert described(mapped, query) == from_sql


def test_applying_the_schema_again_changes_nothing_and_keeps_the_rows(db: Database) -> None:
    db.execute(
        "INSERT INTO jobs (id, kind, priority, engine, source, options)"
        " VALUES (gen_random_uuid(), 'ocr', 'bulk', 'rapid', '{}', '{}')"
    )
    before = [described(db, query) for query in (COLUMNS, CONSTRAINTS, INDEXES)]
    apply_schema(db)
    assert [described(db, query) for query in (COLUMNS, CONSTRAINTS, INDEXES)] == before
    assert len(db.all("SELECT id FROM jobs")) == 1


def test_every_field_of_the_schema_lies_in_the_services_own_schema(db: Database) -> None:
    tables = {row["tablename"] for row in db.all("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
    assert tables == set()
