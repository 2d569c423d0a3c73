"""The README says what is true: its examples are run against a real stack, its tables are held against the code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ocr_tasks.contract import OcrOptions
from ocr_tasks.errors import OcrError
from tests.stack import running_stack

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LEFT_OUT = "…"

# What differs from run to run: ids and times by their form, these numbers by their type.
VARYING = {"processingTime", "queueMs", "inferenceMs", "score", "box"}
FORMS = {
    "<id>": re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "<time>": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)"),
}


@dataclass(frozen=True)
class Example:
    """A command of a console block, and what the README says it prints."""

    line: int
    command: str
    printed: str


def examples(text: str) -> Iterator[Example]:
    """The commands of a text's ```console blocks, in order: lines that begin with `$ `."""
    for block in re.finditer(r"^```console\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        start = text.count("\n", 0, block.start(1)) + 1
        for part in re.finditer(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block[1], re.MULTILINE):
            line = start + block[1].count("\n", 0, part.start())
            yield Example(line, part[1], part[2].rstrip("\n"))


EXAMPLES = list(examples(README))


def script(commands: list[str]) -> str:
    """One script of all commands: each one's output stands between two control characters, its status behind them.

    `head` reads on to the end: what writes into it must not be said to have failed.
    """
    framed = [f"printf '\\x02'\n{command}\nprintf '\\x03%s' $?\n" for command in commands]
    return 'set -o pipefail\nhead() { command head "$@"; cat >/dev/null; }\n' + "".join(framed)


def outcomes(commands: list[str], environment: dict[str, str], timeout_s: float) -> list[tuple[int, str]]:
    """Exit status and output of each command; a last one is missing when the shell itself ended before."""
    shell = subprocess.run(
        ["bash", "-c", script(commands)],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    framed = re.findall(r"\x02([^\x02\x03]*)\x03(\d+)", shell.stdout)
    return [(int(status), printed.rstrip("\n")) for printed, status in framed]


@pytest.fixture(scope="module")
def ran(
    new_environment: Callable[..., dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> dict[Example, tuple[int, str]]:
    """All examples, run once and in order, against a stack with the engine that the README speaks of."""
    environment = new_environment(OCR_LEASE_S="30", OCR_STOP_GRACE_S="1")
    folder = tmp_path_factory.mktemp("readme")
    with running_stack(folder, environment, "web", "prepare", "reconcile", "engine") as stack:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        own = {**os.environ, **environment, "PATH": path, "URL": stack.url, "OCR_SERVER_URL": stack.url}
        found = outcomes([example.command for example in EXAMPLES], own, timeout_s=500)
    return dict(zip(EXAMPLES, found, strict=False))


@pytest.mark.stack
@pytest.mark.timeout(600)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"line-{example.line}")
def test_an_example_answers_what_the_readme_says(example: Example, ran: dict[Example, tuple[int, str]]) -> None:
    assert example in ran, "the shell ended before this example"
    status, printed = ran[example]
    assert status == 0, f"$ {example.command}\nexit status {status}, printed:\n{printed}"
    assert_alike(example.printed, printed)


def assert_alike(said: str, printed: str) -> None:
    """Fail unless the output is what the README says, but for what is left out and what varies."""
    if said.startswith(("{", "[")):
        assert_same_json(json.loads(said), json.loads(printed), "answer")
    else:
        assert pattern(said).fullmatch(by_form(printed)), f"the README says:\n{said}\nprinted was:\n{printed}"


def by_form(text: str) -> str:
    for name, form in FORMS.items():
        text = form.sub(name, text)
    return text


def pattern(said: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, by_form(said).split(LEFT_OUT))), re.DOTALL)


def assert_same_json(said: Any, answered: Any, where: str) -> None:
    """Compare two JSON values; `…` as a value, a key or the end of a list stands for whatever is there."""
    if said == LEFT_OUT:
        return
    assert type(said) is type(answered), f"{where} is {answered!r}; the README says {said!r}"
    if isinstance(said, dict):
        names = said.keys() - {LEFT_OUT}
        assert names <= answered.keys() if LEFT_OUT in said else names == answered.keys(), (
            f"{where} has {sorted(answered)}; the README says {sorted(said)}"
        )
        for name in names - VARYING:
            assert_same_json(said[name], answered[name], f"{where}.{name}")
        for name in names & VARYING:
            assert shape(said[name]) == shape(answered[name]), f"{where}.{name} is {answered[name]!r}"
    elif isinstance(said, list):
        whole = said[-1:] != [LEFT_OUT]
        told = said if whole else said[:-1]
        assert len(told) == len(answered) if whole else len(told) <= len(answered), f"{where} has {len(answered)}"
        for n, (one, other) in enumerate(zip(told, answered, strict=False)):
            assert_same_json(one, other, f"{where}[{n}]")
    elif isinstance(said, str):
        assert pattern(said).fullmatch(by_form(answered)), f"{where} is {answered!r}; the README says {said!r}"
    else:
        assert said == answered, f"{where} is {answered!r}; the README says {said!r}"


def shape(value: Any) -> Any:
    return [type(part) for part in value] if isinstance(value, list) else type(value)


# -- what checks the examples is checked as well ---------------------------------------------


@pytest.mark.parametrize(
    ("said", "printed"),
    [
        ('{"a": 1}', '{"a": 2}'),
        ('{"a": 1}', '{"a": 1, "b": 1}'),
        ('{"a": 1, "…": "…"}', '{"b": 1}'),
        ('{"a": [1]}', '{"a": [1, 2]}'),
        ('{"a": [1, 2, "…"]}', '{"a": [1]}'),
        ('{"a": null}', '{"a": "2026-11-22T20:23:59.1Z"}'),
        ('{"a": "40b4fa1e-8f46-41a4-bd8e-c6d347411670"}', '{"a": "no id"}'),
        ('{"box": [1, 2, 3, 4]}', '{"box": [1, 2, 3]}'),
        ('{"score": 0.5}', '{"score": null}'),
        ("200 image/png", "404 application/problem+json"),
        ("", "something"),
    ],
)
def test_a_different_answer_is_seen(said: str, printed: str) -> None:
    with pytest.raises(AssertionError):
        assert_alike(said, printed)


def test_what_varies_and_what_is_left_out_is_no_difference() -> None:
    one, other = "40b4fa1e-8f46-41a4-bd8e-c6d347411670", "bf178cc3-ea33-4b81-a851-ea254278c4a4"
    assert_alike(
        f'{{"id": "/jobs/{one}", "at": "2026-11-22T20:23:59.1Z", "box": [1, 2], "text": "A…", "list": [1, "…"]}}',
        f'{{"id":"/jobs/{other}","at":"2027-01-01T00:00:00Z","box":[3,4],"text":"A\\nB","list":[1,2,3]}}',
    )
    assert_alike(f"job {one}\n…", f"job {other}\nand more")


def test_the_readme_has_examples_and_their_output_is_read() -> None:
    assert len(EXAMPLES) > 15
    assert [(e.line, e.command, e.printed) for e in examples("a\n```console\n$ one\n1\n$ two\n```\n")] == [
        (3, "one", "1"),
        (5, "two", ""),
    ]


def test_a_command_that_fails_is_seen() -> None:
    assert outcomes(["echo yes", "false", "false | head -1"], dict(os.environ), 10) == [(0, "yes"), (1, ""), (1, "")]


# -- what is named in passing ---------------------------------------------


def test_every_make_target_that_the_readme_names_is_there() -> None:
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"demo", "test", "check"} <= named
    assert named <= targets


def test_every_file_that_the_readme_names_is_there() -> None:
    named = set(re.findall(r"`((?:tests|deploy|workers|ocr_tasks|web)/[\w./]*)`", README))
    assert len(named) > 5
    assert {name for name in named if not (ROOT / name).exists()} == set()


# -- tables ---------------------------------------------


def table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without its head."""
    section = README.split(f"\n{heading}\n", 1)[1]
    rows = re.search(r"^\|---.*\n((?:\|.*\n)+)", section, re.MULTILINE)
    assert rows, f"there is no table below {heading!r}"
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[1].splitlines()]


def errors_below(error: type[OcrError]) -> Iterator[type[OcrError]]:
    yield error
    for below in error.__subclasses__():
        if below.__module__ == OcrError.__module__:
            yield from errors_below(below)


def test_the_table_of_errors_equals_the_code() -> None:
    expected = {
        error.code: [f"`{error.code}`", str(error.status), "yes" if error.retryable else "no", error.title]
        for error in errors_below(OcrError)
    }
    told = table("### Errors")
    assert {row[0].strip("`"): row for row in told} == expected
    assert len(told) == len(expected)


def test_the_table_of_options_names_all_options_with_their_values_and_defaults() -> None:
    schema = OcrOptions.model_json_schema()
    rows = {row[0].strip("`"): row for row in table("### Options")}
    assert rows.keys() == schema["properties"].keys()
    for name, option in schema["properties"].items():
        enum = option.get("enum") or schema["$defs"].get(option.get("$ref", "").rsplit("/", 1)[-1], {}).get("enum")
        if enum:
            assert re.findall(r"`(\w+)`", rows[name][1]) == enum, name
        if option.get("default") is not None:
            assert rows[name][2] == f"`{json.dumps(option['default']).strip(chr(34))}`", name
