"""How long one prediction takes in a running program, and a grid of 10,000 configurations.

    python benchmarks/speed_grid.py [--json]

Processor seconds of one core, the best of five. One prediction is memory, risk and every speed; an answer
adds its reasons, notes and measured runs. The grid is a hundred configurations, each at ten depths and with
ten numbers of users: every speed with its interval, or decoding alone.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable

import advisor
from advisor.asking import understand
from advisor.config import Setup
from advisor.estimate import predict_setups
from advisor.search import candidates
from advisor.speed.figures import decode_query_of, speed_figures
from advisor.speed.model import load_model
from knowledge.catalog import default_catalog

DEPTHS = (0, 1_000, 4_000, 8_000, 16_000, 32_000, 48_000, 64_000, 96_000, 128_000)
USERS = (1, 2, 3, 4, 6, 8, 12, 16, 32, 64)
CARDS = ("3090", "4090", "5090", "rtx pro 6000", "strix halo", "m4 max", "7900 xtx")
ONE = {"model": "qwen3.5-9b", "quant": "Q4_K_M", "gpu": "3060", "ctx": "64k"}


def best(work: Callable[[], object]) -> float:
    """Processor seconds of the fastest of five runs."""
    seconds = []
    for _ in range(5):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return min(seconds)


def grid() -> list[Setup]:
    """A hundred configurations of many cards and models, at every depth and number of users."""
    catalog = default_catalog()
    found = itertools.chain.from_iterable(
        candidates(understand({"gpu": card, "ctx": "128k"}, catalog).request, catalog).setups
        for card in CARDS
    )
    return [
        setup.with_launch(depth=depth, concurrency=users)
        for setup in itertools.islice(found, 100)
        for depth in DEPTHS
        for users in USERS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    model, setups = load_model(), grid()
    queries = [decode_query_of(setup, model) for setup in setups]
    found = {
        "configurations": len(setups),
        "one prediction, ms": 1e3 * best(lambda: predict_setups(setups[:1])),
        "one answer, ms": 1e3 * best(lambda: advisor.predict(**ONE)),
        "grid, speed, s": best(lambda: speed_figures(setups, model)),
        "grid, decode alone, s": best(lambda: model.decode_seconds(queries)),
    }
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:24} {value:10,.2f}")


if __name__ == "__main__":
    main()
