"""The command line `advisor`: it declares options, calls `advisor.service` once and prints the answer.

Data goes to stdout, talk to stderr. An expected failure is one line and the exit code of its class.
"""

from __future__ import annotations

from advisor.cli.main import app, main

__all__ = ["app", "main"]
