"""Writes the generated parts of README.md and docs/reference: `make docs`.

The table of features comes from the last run of all tests (``HOMEPORT_FEATURES=FILE make test``), the table of
operations from what the control plane serves, what isn't built from ``docs/not-built.json``.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FEATURES = ROOT / "docs" / "features.json"
MAIN_JOB = "The Fargate tutorial, unmodified, with the aws CLI"  # the table's first row
BEGIN, END = "<!-- generated: {} -->", "<!-- end -->"


def features() -> str:
    """A row for each feature that the tests show, then for each that isn't built."""
    rows = ["| what | works |", "| --- | --- |"]
    shown = json.loads(FEATURES.read_text())
    for text, outcomes in sorted(shown.items(), key=lambda feature: feature[0] != MAIN_JOB):
        good = bool(outcomes) and all(o == "passed" for o in outcomes)
        rows.append(f"| {text} | {'yes' if good else 'no: its test failed'} |")
    for text, answer in json.loads((ROOT / "docs" / "not-built.json").read_text()).items():
        rows.append(f"| {text} | not yet: {answer} |")
    return "\n".join(rows)


def figures() -> str:
    """The table of the last `make bench ARGS="--json docs/figures.json"`."""
    measured = json.loads((ROOT / "docs" / "figures.json").read_text())
    rows = [f"| {measured['machine']} | Homeport | bar |", "| --- | --- | --- |"]
    return "\n".join([*rows, *(f"| {what} | {seen} | {bar} |" for what, seen, bar, _ in measured["rows"])])


def operations() -> str:
    """Every operation that is served, with the first line of its docstring."""
    from homeport.server import SERVICES

    rows = []
    for service in SERVICES.values():
        rows += ["", f"## {service.name}", "", "| operation | |", "| --- | --- |"]
        for name, operation in sorted(service.operations.items()):
            text = (inspect.getdoc(inspect.unwrap(operation.handler)) or "").split("\n\n")[0].replace("\n", " ")
            rows.append(f"| {name} | {text.replace('|', chr(92) + '|')} |")
    return "\n".join(rows)


def put(path: Path, name: str, text: str) -> bool:
    """Replaces the part of a file between its marks; whether that changed it."""
    old = path.read_text()
    head, _, rest = old.partition(BEGIN.format(name))
    _, _, tail = rest.partition(END)
    new = f"{head}{BEGIN.format(name)}\n{text}\n{END}{tail}"
    path.write_text(new)
    return new != old


def main() -> None:
    changed = put(ROOT / "README.md", "features", features())
    changed |= put(ROOT / "README.md", "figures", figures())
    changed |= put(ROOT / "docs" / "reference" / "operations.md", "operations", operations())
    if "--check" in sys.argv and changed:
        sys.exit("error: generated documentation was out of date; commit the result of `make docs`")


if __name__ == "__main__":
    main()
