"""The largest single allocation that a backend permits, against the largest that llama.cpp asks for.

It knows backends and build dates; sizes are `llamacpp`'s.
"""

from __future__ import annotations

import datetime as dt

from advisor.config import Setup
from advisor.memory.builds import build_date
from advisor.memory.llamacpp import backend_of, largest_buffer_mib

_LIMIT_MIB = {"vulkan": 4096.0, "sycl": 4096.0}
"""`maxMemoryAllocationSize` of the common Vulkan drivers; 4 GiB without relaxed limits on Level Zero
(https://github.com/ggml-org/llama.cpp/issues/15009, /issues/11598, /issues/9472)."""
_CHUNKED_SINCE = dt.date(2025, 9, 24)
"""llama.cpp PR 15815 cuts compute buffers to the backend's maximum (Vulkan)."""


def allocation_ratio(setup: Setup) -> float:
    """The largest single allocation ÷ what the backend permits; 0 where it sets no limit of its own."""
    backend = backend_of(setup)
    limit = _LIMIT_MIB.get(backend)
    if limit is None or (backend == "vulkan" and _chunks(setup)):
        return 0.0
    return largest_buffer_mib(setup) / limit


def _chunks(setup: Setup) -> bool:
    version = setup.launch.engine_version
    return setup.launch.engine != "llama.cpp" or version is None or build_date(version) >= _CHUNKED_SINCE
