"""Command line, one command per file; torch is only imported when a command runs."""

from s4signal.cli.app import app, main

__all__ = ["app", "main"]
