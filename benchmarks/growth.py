"""How time and memory grow with rows in the store and with models in the catalog.

    python benchmarks/growth.py [--rows 15000 100000 1000000] [--json]

Rows are the shipped ones over and over, with every rate and depth moved a little; they are ingested as a
user's own and learnt from, each command a process of its own. Models are the catalog's over and over, under
names of their own. Writes `benchmarks/growth.svg`.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from advisor.asking import understand
from advisor.search import candidates
from knowledge.catalog import Catalog, default_catalog
from knowledge.paths import observations_dir

PLOT = Path(__file__).with_name("growth.svg")
_MIB = 1024
_SIDE, _MARGIN = 380, 60
_COLOURS = ("#1a73e8", "#d93025", "#188038", "#b06000")

Point = tuple[float, float]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, nargs="+", default=[15_000, 100_000, 1_000_000])
    options.add_argument("--json", action="store_true")
    asked = options.parse_args()
    found: dict[str, list[Point]] = {}
    for rows in asked.rows:
        for name, value in measured(rows):
            found.setdefault(name, []).append((rows, value))
            print(f"{rows:>9,} rows  {name:24} {value:10.2f}", file=sys.stderr, flush=True)
    catalog = default_catalog()
    for times in (1, 2, 4, 8):
        models, seconds = searched(catalog, times)
        found.setdefault("recommend: search (s)", []).append((models, seconds))
        print(f"{models:>9,} models  search {seconds:18.2f}", file=sys.stderr, flush=True)
    PLOT.write_text(plot(found), encoding="utf-8")
    if asked.json:
        print(json.dumps(found))


def measured(rows: int) -> Iterator[tuple[str, float]]:
    """Seconds and peak memory of each command with so many own rows in the store."""
    with tempfile.TemporaryDirectory() as folder:
        file, home = Path(folder, "rows.csv"), Path(folder, "home")
        write_rows(file, rows)
        commands = {
            "ingest": ("ingest", str(file), "--json"),
            "train": ("train", "--output", str(Path(folder, "model")), "--json"),
            "predict": (
                "predict",
                "--model",
                "qwen3.5-9b",
                "--quant",
                "Q4_K_M",
                "--gpu",
                "3060",
                "--ctx",
                "64k",
            ),
        }
        for name, arguments in commands.items():
            seconds, mebibytes = run(arguments, home)
            yield f"{name} (s)", seconds
            yield f"{name} (GiB)", mebibytes / _MIB


def run(arguments: Sequence[str], home: Path) -> tuple[float, float]:
    """Seconds and peak MiB of one command."""
    environment = {**os.environ, "ADVISOR_HOME": str(home), "OMP_NUM_THREADS": "1"}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "advisor", *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    # Rows that say the impossible are kept apart, which ingestion answers with exit code 4.
    if os.waitstatus_to_exitcode(status) not in {0, 4}:
        raise SystemExit(f"advisor {' '.join(arguments)} failed")
    return seconds, usage.ru_maxrss / _MIB


def write_rows(file: Path, rows: int) -> None:
    """So many rows like the shipped ones."""
    chance = random.Random(7)  # noqa: S311 - nothing secret
    shipped = [row for path in sorted(observations_dir().glob("*.csv")) for row in read(path)]
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, fieldnames=list(shipped[0]))
        writer.writeheader()
        for index in range(rows):
            writer.writerow(moved(shipped[index % len(shipped)], chance, index))


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def moved(row: Mapping[str, str], chance: random.Random, index: int) -> dict[str, str]:
    """The row with every rate a little otherwise, under a name of its own."""
    new = dict(row)
    for name in ("decode_tps", "decode_tps_total", "prefill_tps", "ttft_ms", "tpot_ms"):
        if row[name]:
            new[name] = f"{float(row[name]) * chance.uniform(0.9, 1.0):.4f}"
    new["notes"] = f"{row['notes']} copy {index}"
    return new


def searched(catalog: Catalog, times: int) -> tuple[int, float]:
    """Models of a catalog that is so many times as large, and seconds to find what fits a card."""
    models = {
        f"{key}{'-copy' * n}": model.model_copy(update={"hf_id": f"{key}{'-copy' * n}"})
        for n in range(times)
        for key, model in catalog.models.items()
    }
    larger = Catalog(catalog.folder)
    vars(larger)["models"] = models  # read lazily otherwise
    request = understand({"gpu": "4090", "ctx": "200k"}, larger).request
    started = time.perf_counter()
    candidates(request, larger)
    return len(models), time.perf_counter() - started


def plot(found: Mapping[str, Sequence[Point]]) -> str:
    """Seconds against rows and models, both logarithmic."""
    curves = {name: points for name, points in found.items() if name.endswith("(s)")}
    xs = [x for points in curves.values() for x, _ in points]
    ys = [y for points in curves.values() for _, y in points]
    low = (math.floor(math.log10(min(xs))), math.floor(math.log10(min(ys))))
    high = (math.ceil(math.log10(max(xs))), math.ceil(math.log10(max(ys))))

    def at(x: float, y: float) -> Point:
        across = (math.log10(x) - low[0]) / max(high[0] - low[0], 1)
        up = (math.log10(y) - low[1]) / max(high[1] - low[1], 1)
        return _MARGIN + _SIDE * across, _MARGIN + _SIDE * (1 - up)

    size = _SIDE + 2 * _MARGIN
    marks = [f'<rect width="{size}" height="{size}" fill="#ffffff"/>']
    for exponent in range(low[0], high[0] + 1):
        x, y = at(10.0**exponent, 10.0 ** low[1])
        marks.append(_text(x, y + 18, f"{10**exponent:,}", "middle", "#3c4043"))
    for exponent in range(low[1], high[1] + 1):
        x, y = at(10.0 ** low[0], 10.0**exponent)
        marks.append(_text(x - 6, y + 4, f"{10.0**exponent:g} s", "end", "#3c4043"))
    for place, (name, points) in enumerate(curves.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in points))
        marks.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        marks.append(_text(_MARGIN + 10, _MARGIN + 16 + 16 * place, name, "start", colour))
    marks.append(
        _text(size / 2, size - 14, "rows in the store, or models in the catalog", "middle", "#3c4043")
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" font-family="sans-serif">'
    return "\n".join([head, *marks, "</svg>", ""])


def _text(x: float, y: float, text: str, anchor: str, colour: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{colour}" font-size="12">{text}</text>'


if __name__ == "__main__":
    main()
