"""What keeps the house in order: import arrows, the settings table, the limits of the light install."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocr_tasks.settings import Settings, environment_name

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("ocr_tasks", "web", "workers")


def imports(path: Path) -> Iterator[str]:
    """Absolute names of the modules that a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path} has a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(name: str) -> set[str]:
    """Files of the packages that import a module or anything below it."""
    return {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if any(module == name or module.startswith(f"{name}.") for module in imports(path))
    }


def files_of(*folders: str) -> tuple[str, ...]:
    return tuple(folders)


@pytest.mark.parametrize(
    ("imported", "allowed"),
    [
        ("web", files_of("web/")),
        ("workers", files_of("workers/")),
        ("torch", files_of("workers/engine/deepseek", "workers/nano/")),
        ("transformers", files_of("workers/engine/deepseek", "workers/nano/")),
        ("selenium", files_of("workers/sources/browser", "workers/nano/sheets.py")),
        ("sqlalchemy", files_of("ocr_tasks/models/", "ocr_tasks/jobs/", "ocr_tasks/cache")),
        ("flask", files_of("web/")),
        ("rapidocr", files_of("workers/engine/rapid")),
        ("onnxruntime", files_of("workers/engine/rapid")),
        ("py3langid", files_of("workers/crawled_language.py")),
        ("pypdfium2", files_of("workers/sources/")),
        ("zstandard", files_of("workers/visual/")),
        ("prometheus_client", files_of("web/metrics.py", "web/traffic.py", "workers/metrics.py")),
    ],
)
def test_only_its_own_rooms_import_a_module(imported: str, allowed: tuple[str, ...]) -> None:
    assert {path for path in importers(imported) if not path.startswith(allowed)} == set()


def test_the_check_of_imports_sees_imports() -> None:
    assert "web/jobs.py" in importers("flask")
    assert "ocr_tasks/jobs/database.py" in importers("sqlalchemy")


def test_the_contract_is_importable_without_what_web_and_workers_need() -> None:
    heavy = ["flask", "PIL", "torch", "selenium", "rapidocr", "onnxruntime", "pypdfium2", "web", "workers"]
    code = (
        "import sys, importlib\n"
        f"for name in {heavy!r}: sys.modules[name] = None\n"
        "import ocr_tasks.app, ocr_tasks.cli, ocr_tasks.blobs, ocr_tasks.dispatch, ocr_tasks.models\n"
        "import ocr_tasks.jobs.submitting, ocr_tasks.jobs.views, ocr_tasks.media, ocr_tasks.client\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def settings_table() -> dict[str, tuple[str, str]]:
    """The README's table of settings: variable -> (default, meaning)."""
    rows = {}
    for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 3 and cells[0].startswith("`") and cells[0].strip("`").isupper():
            rows[cells[0].strip("`")] = (cells[1].strip("`"), cells[2])
    return rows


def test_the_settings_table_of_the_readme_equals_the_code() -> None:
    expected = {
        environment_name(name): (settings_default(name), field.description)
        for name, field in Settings.model_fields.items()
    }
    assert settings_table() == expected


def settings_default(name: str) -> str:
    """How the README writes a setting's default."""
    field = Settings.model_fields[name]
    if name == "data_dir":
        return "/var/lib/lightdom-ocr (root) or ~/.local/share/lightdom-ocr"
    if isinstance(field.default, bool):
        return str(field.default).lower()
    return "unset" if field.default is None else str(field.default)
