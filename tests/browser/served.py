"""The page as people start it: `advisor ui` on a free port of this machine, with a data folder of its own.

It knows how a server is started, found healthy and ended; not what it shows.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

START_S = 60


@contextmanager
def page_server(home, folder):
    """The page's address, served on the data in `home`; what it prints is kept in `folder`, where it runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    said = folder / "server.log"
    with said.open("wb") as log:
        # a group of its own: `advisor ui` starts Streamlit as a child, and both have to end
        server = subprocess.Popen(
            [sys.executable, "-m", "advisor", "ui", "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env=os.environ | {"ADVISOR_HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_until_healthy(server, address, said)
            yield address
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def wait_until_healthy(server, address, said):
    until = time.monotonic() + START_S
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            with direct.open(f"{address}/_stcore/health", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            if server.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"the page did not start: {said.read_text(errors='replace')}") from None
            time.sleep(0.1)
