"""What every test may use: a data folder with all shipped rows, and a Hub of this process's own.

huggingface_hub reads HF_ENDPOINT when it is first imported, so the address is set here, before any test: no
test can reach the network or the home directory.
"""

import atexit
import json
import os
import re
import shutil
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from knowledge.store.connection import open_store

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubHandler(BaseHTTPRequestHandler):
    """The parts of the Hub's protocol that reading a model needs."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        """Say nothing."""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        hub, path = self.server.hub, self.path.partition("?")[0]
        hub.asked.append((self.command, path, self.headers.get("Range")))
        if (found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/tree/[^/]+)?", path)) is not None:
            self.describe(found[1], tree=bool(found[2]))
        elif (found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path)) is not None:
            self.resolve(*found.groups())
        elif (found := re.fullmatch(r"/cdn/([^/]+/[^/]+)/(.+)", path)) is not None:
            self.send_range(hub.repos[found[1]][found[2]])
        else:
            self.answer(404, b"{}")

    def answer(self, code, body, **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def describe(self, repo, *, tree):
        hub = self.server.hub
        if repo in hub.odd_answers:
            self.answer(200, hub.odd_answers[repo], Content_Type="application/json")
        elif repo not in hub.repos:
            self.answer(404, b'{"error":"Repository not found"}', X_Error_Code="RepoNotFound")
        else:
            files = [(name, len(data)) for name, data in hub.repos[repo].items()]
            listed = [{"type": "file", "oid": "0", "path": name, "size": size} for name, size in files]
            siblings = [{"rfilename": name, "size": size, "blobId": "0"} for name, size in files]
            about = listed if tree else {"id": repo, "modelId": repo, "sha": COMMIT, "siblings": siblings}
            self.answer(200, json.dumps(about).encode(), Content_Type="application/json")

    def resolve(self, repo, name):
        hub = self.server.hub
        if repo in hub.gated:
            self.answer(hub.gated[repo], b'{"error":"gated"}', X_Error_Code="GatedRepo")
        elif repo not in hub.repos:
            self.answer(404, b'{"error":"Repository not found"}', X_Error_Code="RepoNotFound")
        elif name not in hub.repos[repo]:
            self.answer(404, b'{"error":"Entry not found"}', X_Error_Code="EntryNotFound")
        else:
            data = hub.repos[repo][name]
            about = {"ETag": '"0"', "X_Repo_Commit": COMMIT, "X_Linked_Size": str(len(data))}
            if name.endswith((".gguf", ".safetensors")):  # large files lie elsewhere
                self.answer(302, b"", Location=f"{hub.url}/cdn/{repo}/{name}", **about)
            else:
                self.send_range(data, **about)

    def send_range(self, data, **about):
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        if asked is None or self.server.hub.ignores_ranges:
            self.answer(200, data, **about)
            return
        start, end = int(asked[1]), min(int(asked[2]), len(data) - 1)
        about["Content_Range"] = f"bytes {start}-{end}/{len(data)}"
        self.answer(206, data[start : end + 1], **about)


class HubServer(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """Say nothing: a client may hang up once it has what it needs."""


class Hub:
    """`repos` is what it has: bytes by file name by repository."""

    def __init__(self):
        self.clear()
        self.server = HubServer(("127.0.0.1", 0), HubHandler)
        self.server.daemon_threads = True
        self.server.hub = self
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def clear(self):
        self.repos, self.gated, self.odd_answers, self.asked = {}, {}, {}, []
        self.ignores_ranges = False

    def bytes_asked(self):
        """Bytes of all ranges that were asked for."""
        ranges = [asked[6:].split("-") for _, _, asked in self.asked if asked]
        return sum(int(end) - int(start) + 1 for start, end in ranges)


_HUB = Hub()
_HF_HOME = tempfile.mkdtemp(prefix="hf-home-")
atexit.register(shutil.rmtree, _HF_HOME, ignore_errors=True)
for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
    os.environ.pop(name, None)
os.environ |= {
    "HF_ENDPOINT": _HUB.url, "HF_HOME": _HF_HOME, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
    "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1",
}  # fmt: skip


@pytest.fixture
def hub():
    _HUB.clear()
    yield _HUB
    _HUB.clear()


@pytest.fixture(scope="session")
def shipped_home(tmp_path_factory):
    home = tmp_path_factory.mktemp("shipped-home")
    open_store(home).close()
    return home
