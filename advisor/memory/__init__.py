"""Bytes, exactly: weights, KV cache, recurrent state, buffers, one accounting per engine."""

from advisor.memory.account import ENGINES, account

__all__ = ["ENGINES", "account"]
