"""The command line: one command a file. Nothing here imports torch before a command runs."""

from s4signal.cli.app import app, main

__all__ = ["app", "main"]
