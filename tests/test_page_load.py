"""The load script: it counts what the real page answers, and an answer that is an error fails it."""

import argparse
import asyncio
import importlib
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the script reads /proc")


def test_changes_are_answered_and_counted(tmp_path):
    words = [str(BENCHMARKS / "page_load.py"), "--sessions", "2", "--seconds", "4", "--think", "0.1", "0.3"]
    done = subprocess.run(
        [sys.executable, *words, "--json"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["errors"] == {}
    assert found["changes"] >= 2
    assert 0 < found["change_ms"]["p50"] <= found["change_ms"]["max"]
    assert found["memory_mib"]["max"] >= found["memory_mib"]["idle"] > 50


class Answers:
    """A connection that has its answers ready."""

    def __init__(self, *messages):
        self.sent, self.messages = [], list(messages)

    async def send(self, data):
        self.sent.append(data)

    async def recv(self):
        return self.messages.pop(0).SerializeToString()


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("page_load")


@pytest.fixture
def protocol(script):
    return importlib.import_module("page_visitor")


def test_a_server_that_is_gone_and_an_answer_that_never_came_fail_the_run(script, monkeypatch, capsys):
    options = argparse.Namespace(seconds=1, think=(0, 0), change=["ctx"])
    load = script.Load(options)
    asyncio.run(load.visit("127.0.0.1:9", 0))
    assert sum(load.errors.values()) == 1
    found = {"changes": 5, "errors": dict(load.errors)}
    monkeypatch.setattr(script, "measured", lambda _: found)
    monkeypatch.setattr(sys, "argv", ["page_load.py", "--json"])
    assert script.main() == 1
    monkeypatch.setitem(found, "errors", {})
    assert script.main() == 0
    monkeypatch.setitem(found, "changes", 0)
    assert script.main() == 1


def test_a_widget_that_is_not_there_is_an_error(protocol):
    visitor = answer(protocol, message(protocol, script_finished=0))
    with pytest.raises(KeyError, match="no_such_widget"):
        asyncio.run(visitor.change("no_such_widget"))


def answer(protocol, *messages):
    visitor = protocol.Visitor(Answers(*messages), "gpu=3090", random.Random(0))  # noqa: S311 - a test that repeats
    asyncio.run(visitor.start())
    return visitor


def message(protocol, **parts):
    return protocol.ForwardMsg(**parts)


def test_an_exception_on_the_page_is_an_error_of_its_visitor(protocol):
    broken, done = message(protocol), message(protocol, script_finished=0)
    broken.delta.new_element.exception.type = "ValueError"
    broken.delta.new_element.exception.message = "no such thing"
    with pytest.raises(protocol.PageError, match="ValueError: no such thing"):
        answer(protocol, broken, done)


def test_a_changed_widget_is_sent_with_the_others_and_in_the_address(protocol):
    boxes = []
    for key, options in (("gpu", ["3090", "4090"]), ("kv_type", ["any", "f16"])):
        boxes.append(message(protocol))
        box = boxes[-1].delta.new_element.selectbox
        box.id, box.default, box.query_param_key = f"$$ID-0123abcd-{key}", 0, key
        box.options.extend(options)
    done = message(protocol, script_finished=0)
    visitor = answer(protocol, *boxes, done)
    visitor.socket.messages.append(done)
    asyncio.run(visitor.change("gpu"))
    rerun = protocol.BackMsg.FromString(visitor.socket.sent[-1]).rerun_script
    sent = {state.id.rpartition("-")[2]: state.string_value for state in rerun.widget_states.widgets}
    assert sent == {"gpu": "4090", "kv_type": "any"}
    assert rerun.query_string == "gpu=4090"
