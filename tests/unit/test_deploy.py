"""What is deployed names commands, settings and files that there are, and listens where it may."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import click
import pytest

from ocr_tasks import __version__
from ocr_tasks.cli import cli
from ocr_tasks.settings import Settings, environment_name
from workers.commands import register

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = importlib.import_module("yaml").safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")


def of_program(program: str) -> list[str]:
    return [name for name, service in OURS.items() if service["command"][0] == program]


def seconds(duration: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(s|m)", duration).groups()  # type: ignore[union-attr]
    return float(number) * {"s": 1, "m": 60}[unit]


def test_compose_runs_all_parts_of_the_service() -> None:
    assert OURS.keys() == {"web", "prepare", "browser", "engine", "reconcile", "flower", "schema"}
    assert SERVICES.keys() - OURS.keys() == {"postgres", "redis"}
    assert {OURS[name]["command"][0] for name in OURS} == {"lightdom-ocr", "gunicorn", "celery"}


def parse(command: list[str]) -> click.Command:
    """The command of `lightdom-ocr` that an argument list ends at; fails as the command line would."""
    register(cli)
    found: click.Command = cli
    context = click.Context(cli)
    arguments = command[1:]
    while isinstance(found, click.Group):
        name, found, arguments = resolved(found, context, arguments)
        context = click.Context(found, parent=context, info_name=name)
    found.parse_args(context, list(arguments))
    return found


def resolved(group: click.Group, context: click.Context, arguments: list[str]) -> tuple[str, click.Command, list[str]]:
    name, found, rest = group.resolve_command(context, arguments)
    assert name is not None
    assert found is not None
    return name, found, rest


@pytest.mark.parametrize("service", of_program("lightdom-ocr"))
def test_the_command_of_a_service_is_one_of_the_command_line(service: str) -> None:
    assert not isinstance(parse(OURS[service]["command"]), click.Group)


def test_a_command_or_an_option_that_does_not_exist_is_seen() -> None:
    for wrong in (["lightdom-ocr", "worker", "cook"], ["lightdom-ocr", "worker", "engine", "--gpus", "2"]):
        with pytest.raises(click.UsageError):
            parse(wrong)


@pytest.mark.parametrize("service", of_program("gunicorn"))
def test_gunicorn_takes_the_words_that_a_service_gives_it(service: str) -> None:
    subprocess.run(
        [sys.executable, "-m", *OURS[service]["command"], "--check-config"], cwd=ROOT, check=True, timeout=60
    )


def test_flower_has_the_options_that_it_is_given() -> None:
    importlib.import_module("flower.options")
    known = {name.replace("_", "-") for name in importlib.import_module("tornado.options").options}
    program, _, module, command, *words = SERVICES["flower"]["command"]
    assert (program, module, command) == ("celery", "ocr_tasks.app", "flower")
    assert importlib.import_module(module).app.main == "lightdom_ocr"
    assert {word.lstrip("-").split("=")[0].replace("_", "-") for word in words} <= known


def test_every_variable_of_compose_is_a_setting() -> None:
    known = {environment_name(name) for name in Settings.model_fields}
    given = {name for service in OURS.values() for name in service["environment"]}
    written = set(re.findall(r"\b(?:OCR|DEEPSEEK)_[A-Z_]+\b", COMPOSE_TEXT + DOCKERFILE))
    assert given
    assert given | written <= known


def test_every_image_is_pinned_and_ours_is_this_version() -> None:
    for name, service in SERVICES.items():
        assert re.search(r":\d+(\.\d+)*(-[a-z]+)?$", service["image"]), (name, service["image"])
    assert {service["image"] for service in OURS.values()} == {f"lightdom-ocr:{__version__}"}
    assert all(re.search(r":3\.\d+-slim", image) for image in re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))


def test_a_missing_password_is_an_error_that_names_it() -> None:
    used = re.findall(r"(?<!\$)\$\{(\w+)([^}]*)\}", COMPOSE_TEXT)
    assert {name for name, _ in used} == {"POSTGRES_PASSWORD", "REDIS_PASSWORD"}
    assert all(otherwise.startswith(":?") for _, otherwise in used)


def test_nothing_is_published_but_on_loopback_and_only_by_what_answers_http() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.keys() == {"web", "flower"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert COMPOSE["networks"]["inside"]["internal"] is True
    assert {name for name, service in SERVICES.items() if "outside" in service["networks"]} == {
        "web",
        "flower",
        "browser",
    }


def test_what_compose_refers_to_is_there() -> None:
    for name, service in SERVICES.items():
        assert set(service["networks"]) <= COMPOSE["networks"].keys()
        assert {volume.split(":")[0] for volume in service.get("volumes", [])} <= COMPOSE["volumes"].keys()
        for other, wanted in service.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other], f"{name} waits for the health of {other}"
            else:
                assert SERVICES[other]["restart"] == "no", f"{name} waits for the end of {other}"


def test_web_and_workers_share_the_blobs_and_what_must_not_die_comes_back() -> None:
    for name in ("web", "prepare", "browser", "engine", "reconcile"):
        assert "blobs:/data/blobs" in OURS[name]["volumes"]
        assert OURS[name]["environment"]["OCR_BLOB_URL"] == "file:///data/blobs"
        assert OURS[name]["restart"] == "unless-stopped"
    assert "install -d -o ocr -g ocr /data/blobs" in DOCKERFILE


def test_a_service_has_more_time_to_stop_than_a_node_takes() -> None:
    grace_s = Settings.model_fields["stop_grace_s"].default
    assert all(seconds(service["stop_grace_period"]) >= grace_s + 10 for service in OURS.values())
    assert all(service["init"] is True for service in OURS.values())


# -- the image ---------------------------------------------


def copied() -> set[str]:
    """What the Dockerfile copies from the checkout."""
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    return {source for line in lines for source in line.split()}


def test_the_image_is_made_from_the_tested_versions_and_runs_as_nobody_in_particular() -> None:
    installs = re.findall(r"pip install.*", DOCKERFILE)
    assert installs
    assert all("--constraint deploy/constraints.txt" in install for install in installs)
    assert ".[web,workers,browser]" in DOCKERFILE
    assert re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)[-1] not in ("root", "0")


def test_the_image_is_given_everything_that_the_package_is_built_from() -> None:
    assert all((ROOT / source).exists() for source in copied())
    assert {"setup.cfg", "pyproject.toml", "README.md", "LICENSE", "ocr_tasks", "web", "workers"} <= copied()
    links = [path for name in ("ocr_tasks", "web", "workers") for path in (ROOT / name).rglob("*") if path.is_symlink()]
    assert {str(link.resolve().relative_to(ROOT)) for link in links} <= copied()


def test_the_build_sees_what_is_copied_and_nothing_else() -> None:
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    let_through = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    assert patterns[0] == "*"
    assert let_through == copied()
    assert not any(fnmatch(".env", pattern) for pattern in let_through)
