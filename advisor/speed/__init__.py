"""Tokens per second: physics, and a regression on what is left."""
