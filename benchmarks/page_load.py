"""How the page bears many people at once: latency, memory and errors of sessions that keep changing widgets.

    python benchmarks/page_load.py [--sessions 20] [--seconds 120] [--think 1 3] [--change KEY …] [--json]

The real server is started on a data folder of its own, on this machine. All sessions open at once; then each
changes a widget, waits for the whole answer, thinks, and changes the next. It ends with 1 if anything failed.
The visitors are one process beside the server and take their share of the processor. Linux only (/proc).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from page_visitor import PageError, Visitor, visitor
from websockets.exceptions import ConnectionClosed

MODELS = ("qwen3.5-9b", "qwen3.5-27b", "qwen3.5-35b-a3b", "gpt-oss-20b", "gemma-3-27b")
GPUS = ("RTX 3090", "RTX 4090", "RTX 5090", "RTX 3060 12GB")
WANTED: dict[str, tuple[Any, ...]] = {
    "ctx": ("4Ki", "8Ki", "16Ki", "32Ki", "48Ki", "64Ki", "100k", "128Ki"),
    "concurrency": (1, 2, 3, 4, 6, 8, 12, 16),
    "quant": ("Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "IQ4_XS", "Q3_K_M"),
}
"""What is chosen where a widget takes anything; the others move among the options that they show."""
CHANGED = ("ctx", "concurrency", "kv_type", "gpu", "quant")
SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
START_S = 60
ANSWER_S = 60
SAMPLE_S = 0.5


class Server:
    """`advisor ui` and what it starts: one process group, measured as a whole."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self.said = folder / "server.log"
        started = time.perf_counter()
        with self.said.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "-m", "advisor", "ui", "--host", "127.0.0.1", "--port", str(port)],
                env=os.environ | {"ADVISOR_HOME": str(folder / "home")},
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self._wait(started + START_S)
        self.start_s = time.perf_counter() - started

    def _wait(self, until: float) -> None:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while True:
            try:
                with direct.open(f"http://{self.address}/_stcore/health", timeout=1):
                    return
            except (urllib.error.URLError, OSError):
                if self.process.poll() is not None or time.perf_counter() > until:
                    self.end()
                    raise SystemExit(f"error: the page did not start: {self.said.read_text()}") from None
                time.sleep(0.02)

    def usage(self) -> tuple[float, float]:
        """MiB of memory in RAM and CPU seconds, of the whole group."""
        pages = ticks = 0
        for place in Path("/proc").glob("[0-9]*/stat"):
            try:
                # what follows the name, which is in brackets and may hold anything; proc(5) counts from 3
                fields = place.read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended since
            if int(fields[5 - 3]) == self.process.pid:
                ticks += int(fields[14 - 3]) + int(fields[15 - 3])
                pages += int(fields[24 - 3])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, ticks / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        # politely first: a profiler in front of the server writes its findings when it is interrupted
        for how in (signal.SIGINT, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, how)
                self.process.wait(10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


class Load:
    """What the visitors did and how long it took; errors by their text."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.first: list[float] = []
        self.changes: list[float] = []
        self.by_key: dict[str, list[float]] = {key: [] for key in options.change}
        self.errors: Counter[str] = Counter()
        self.memory: list[float] = []
        self.bytes = 0

    async def visit(self, address: str, number: int) -> None:
        dice = random.Random(number)  # noqa: S311 - the same visits every time
        query = f"gpu={GPUS[number % len(GPUS)]}&model={MODELS[number % len(MODELS)]}&quant=Q4_K_M&ctx=32Ki"
        until = time.perf_counter() + self.options.seconds
        one: Visitor | None = None
        try:
            one = await visitor(address, query, dice)
            self.first.append(await asyncio.wait_for(one.start(), ANSWER_S))
            while True:
                await asyncio.sleep(dice.uniform(*self.options.think))
                if time.perf_counter() > until:
                    break
                key = dice.choice(self.options.change)
                try:
                    seconds = await asyncio.wait_for(one.change(key, WANTED.get(key, ())), ANSWER_S)
                except PageError as error:
                    self.errors[str(error)] += 1
                    continue
                self.changes.append(seconds)
                self.by_key[key].append(seconds)
        except (PageError, TimeoutError, ConnectionClosed, OSError, KeyError) as error:
            # a session that ends before its time counts once; a KeyError: the page has no such widget
            self.errors[f"{type(error).__name__}: {error}"] += 1
        finally:
            if one is not None:
                self.bytes += one.bytes
                await one.socket.close()

    async def watch(self, server: Server) -> None:
        while True:
            self.memory.append(server.usage()[0])
            await asyncio.sleep(SAMPLE_S)

    async def run(self, server: Server) -> None:
        watching = asyncio.create_task(self.watch(server))
        await asyncio.gather(*(self.visit(server.address, number) for number in range(self.options.sessions)))
        watching.cancel()


def shares(seconds: list[float]) -> dict[str, float]:
    """Percentiles in milliseconds."""
    if not seconds:
        return {}
    ordered = sorted(seconds)
    found = {
        name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] for name, share in SHARES.items()
    }
    return {name: round(1000 * value) for name, value in (found | {"max": ordered[-1]}).items()}


def measured(options: argparse.Namespace) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp())
    try:
        server = Server(folder, [*shlex.split(options.under), sys.executable])
        try:
            idle, _ = server.usage()
            alone = asyncio.run(first_answer(server.address))
            _, before = server.usage()
            load = Load(options)
            started = time.perf_counter()
            asyncio.run(load.run(server))
            wall = time.perf_counter() - started
            cpu = server.usage()[1] - before
        finally:
            server.end()
    finally:
        shutil.rmtree(folder)
    return {
        "sessions": options.sessions,
        "seconds": round(wall, 1),
        "start_s": round(server.start_s, 2),
        "first_answer_s": round(alone, 2),
        "opened_together_ms": shares(load.first),
        "changes": len(load.changes),
        "change_ms": shares(load.changes),
        "change_ms_by_widget": {key: shares(seconds) for key, seconds in load.by_key.items()},
        "server_cpu_s": round(cpu, 1),
        "server_cpu_ms_per_answer": round(1000 * cpu / max(1, len(load.changes) + len(load.first))),
        "sent_mib": round(load.bytes / 2**20, 1),
        "memory_mib": {
            "idle": round(idle), "mean": round(statistics.fmean(load.memory)), "max": round(max(load.memory)),
        },
        "errors": dict(load.errors),
    }  # fmt: skip


async def first_answer(address: str) -> float:
    """Seconds until the first visitor has an answer: modules are loaded and the store is built for it."""
    one = await visitor(address, f"gpu={GPUS[0]}&model={MODELS[0]}&quant=Q4_K_M", random.Random(0))  # noqa: S311
    try:
        return await asyncio.wait_for(one.start(), ANSWER_S)
    finally:
        await one.socket.close()


def table(found: dict[str, Any]) -> str:
    def line(name: str, values: dict[str, Any]) -> str:
        return f"{name:22}" + "".join(f"{key:>8} {value:<6}" for key, value in values.items())

    return "\n".join(
        [
            f"{found['sessions']} sessions, {found['seconds']} s, {os.cpu_count()} cores",
            f"started in {found['start_s']} s, first answer in {found['first_answer_s']} s",
            line("opened together, ms", found["opened_together_ms"]),
            line(f"{found['changes']} changes, ms", found["change_ms"]),
            *(line(f"  {key}", values) for key, values in found["change_ms_by_widget"].items()),
            line("memory, MiB", found["memory_mib"]),
            line("server", {"CPU s": found["server_cpu_s"], "ms each": found["server_cpu_ms_per_answer"]}),
            f"sent {found['sent_mib']} MiB",
            f"errors: {sum(found['errors'].values())}",
            *(f"  {times} × {error}" for error, times in found["errors"].items()),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=20, metavar="N")
    parser.add_argument("--seconds", type=float, default=120, metavar="S")
    parser.add_argument("--think", type=float, nargs=2, default=(1, 3), metavar="S", help="least and most")
    parser.add_argument("--change", nargs="+", default=CHANGED, metavar="KEY", help="widgets by their keys")
    parser.add_argument("--under", default="", metavar="COMMAND", help="a profiler to start the server with")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    found = measured(parser.parse_args())
    print(json.dumps(found, indent=2) if "--json" in sys.argv else table(found))
    return 1 if found["errors"] or not found["changes"] else 0


if __name__ == "__main__":
    sys.exit(main())
