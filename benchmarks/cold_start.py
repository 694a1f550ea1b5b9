"""How long the program takes to answer, as whole processes: medians of five runs of each command.

    python benchmarks/cold_start.py [--runs 5] [--json]

Each run is a new process with warm files. A first run, not counted, builds the store in a folder of its own.
The bare interpreter and the libraries that an answer needs are timed beside it: what is left is ours. It
judges nothing; the targets stand beside the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

RECOMMEND = ("recommend", "--model", "qwen3.5-35b-a3b", "--gpu", "3090", "--ctx", "262144")
PREDICT = ("predict", "--model", "qwen3.5-9b", "--quant", "Q4_K_M", "--gpu", "3060", "--ctx", "64k")
QUESTIONS: tuple[tuple[tuple[str, ...], float | None], ...] = (
    (("--version",), 0.15),
    (("--help",), 0.3),
    (RECOMMEND, 0.9),
    (PREDICT, 0.9),
    (("recommend", "--gpu", "4090", "--ctx", "200k"), None),
)
"""Arguments, and the seconds they should take at most."""
LIBRARIES = ("pass", "import numpy, pydantic, duckdb, typer")


def program() -> list[str]:
    """The installed `advisor` of this interpreter, or its module in a checkout."""
    installed = Path(sys.executable).with_name("advisor")
    return [str(installed)] if installed.is_file() else [sys.executable, "-m", "advisor"]


def median_seconds(command: Sequence[str], runs: int, environment: dict[str, str]) -> float:
    """Median wall-clock seconds of `runs` processes, after one that is not counted."""
    seconds = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=environment)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="counted runs of each (default 5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    home = tempfile.mkdtemp()
    environment = os.environ | {"ADVISOR_HOME": home}
    try:
        rows = [
            (
                " ".join(("advisor", *question)),
                median_seconds([*program(), *question], options.runs, environment),
                most,
            )
            for question, most in QUESTIONS
        ]
    finally:
        shutil.rmtree(home)
    rows += [
        (f"python -c '{code}'", median_seconds([sys.executable, "-c", code], options.runs, environment), None)
        for code in LIBRARIES
    ]
    if options.json:
        found = {name: {"median_s": round(seconds, 3), "target_s": most} for name, seconds, most in rows}
        print(
            json.dumps(
                {"python": platform.python_version(), "runs": options.runs, "commands": found}, indent=2
            )
        )
        return
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores; median of {options.runs} processes")
    for name, seconds, most in rows:
        target = f"(target {most:g} s)" if most else ""
        print(f"{seconds:7.3f} s  {name}  {target}".rstrip())


if __name__ == "__main__":
    main()
