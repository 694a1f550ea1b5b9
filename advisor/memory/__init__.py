"""Bytes on each device, exactly where an engine is exact."""
