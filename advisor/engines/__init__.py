"""Configurations and command lines, one file per engine."""
