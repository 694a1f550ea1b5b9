"""Fill the documents with what the program prints and holds, so that they never say what is not so.

    python scripts/readme.py            write the blocks of README.md and docs/architecture.md anew
    python scripts/readme.py --check    exit 1 where a block is not what it would be today

Three kinds of block, each up to `<!-- end -->`: `<!-- output: advisor … -->` holds what that command prints,
`<!-- summary: FILE -->` what stands between `<!-- summary -->` and `<!-- end -->` in another document, and
`<!-- modules: PACKAGE -->` the modules of a package with what each says that it owns.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "docs/architecture.md")
WIDTH = "100"
BLOCK = re.compile(r"(<!-- (output|summary|modules): (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
SUMMARY = re.compile(r"<!-- summary -->\n(.*?)<!-- end -->", re.DOTALL)


def printed(command: str, home: str) -> str:
    """What a command prints on a terminal without colours, as a Markdown block."""
    words = shlex.split(command)
    if words[0] != "advisor":
        sys.exit(f"error: only advisor's own output is shown, not that of {words[0]!r}")
    done = subprocess.run(
        [sys.executable, "-m", *words],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"ADVISOR_HOME": home, "COLUMNS": WIDTH, "NO_COLOR": "1", "TERM": "dumb"},
    )
    if done.returncode:
        sys.exit(f"error: {command}: {done.stderr.strip()}")
    lines = [line.rstrip() for line in done.stdout.strip("\n").splitlines()]
    return "\n".join(["```text", f"$ {command}", *lines, "```", ""])


def summary(name: str) -> str:
    """The part of a document that says it in short."""
    path = ROOT / name
    found = SUMMARY.search(path.read_text(encoding="utf-8")) if path.is_file() else None
    if found is None:
        sys.exit(f"error: {name} has no <!-- summary --> … <!-- end -->; write it with: advisor train")
    return found.group(1)


def modules(package: str) -> str:
    """The modules of a package, each with the first line of its docstring, as a Markdown table."""
    lines = ["| module | owns |", "|---|---|"]
    for path in sorted((ROOT / package).rglob("*.py")):
        owned = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
        lines.append(f"| `{path.relative_to(ROOT).as_posix()}` | {owned.replace('|', '/')} |")
    return "\n".join([*lines, ""])


def filled(text: str, home: str) -> str:
    """A document with every block as it has to be."""

    def block(match: re.Match[str]) -> str:
        start, kind, what, end = match.groups()
        made = {"output": lambda: printed(what, home), "summary": lambda: summary(what)}
        return start + made.get(kind, lambda: modules(what))() + end

    return BLOCK.sub(block, text)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing; say whether all is up to date")
    check = parser.parse_args().check
    code = 0
    with tempfile.TemporaryDirectory() as home:
        for name in DOCUMENTS:
            path = ROOT / name
            text = path.read_text(encoding="utf-8")
            new = filled(text, home)
            if new == text:
                print(f"{name} is up to date")
            elif check:
                print(f"error: {name} is out of date — run: python scripts/readme.py", file=sys.stderr)
                code = 1
            else:
                path.write_text(new, encoding="utf-8")
                print(f"{name} is written anew")
    return code


if __name__ == "__main__":
    sys.exit(main())
