"""Shared by all commands: errors and warnings in one line, output as text or JSON."""

import functools
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer

from s4signal.errors import S4SignalError

BAD_INPUT, FAULT, INTERRUPTED = 2, 1, 130


def checked(command: Callable[..., None]) -> Callable[..., None]:
    """Wrap a command: exit with one line and code 2 for invalid input, 1 for internal errors, 130 for an interrupt."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.showwarning = _show_warning
            try:
                command(*args, **kwargs)
            except BrokenPipeError:  # the reader stopped early: `s4signal predict ... | head`
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python reports an error at exit
            except (typer.Exit, typer.Abort):
                raise
            except KeyboardInterrupt:
                _fail("interrupted; nothing was written.", INTERRUPTED)
            except (S4SignalError, ValueError, TypeError, OSError) as error:
                _fail(one_line(error), BAD_INPUT)
            except Exception as error:
                _fail(f"internal error, {type(error).__name__}: {one_line(error)}", FAULT)

    return run


def one_line(error: BaseException | str) -> str:
    """Return an error as one line, with parameters such as sfreq= as options, --sfreq."""
    text = re.sub(r"\b(pattern|manifest|on_error|sfreq|split)=", lambda m: f"--{m[1].replace('_', '-')} ", str(error))
    return " ".join(text.split()) or type(error).__name__


def _fail(text: str, code: int) -> None:
    if os.environ.get("S4SIGNAL_TRACEBACK"):
        raise
    typer.echo(f"error: {text}", err=True)
    raise typer.Exit(code)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, UserWarning):  # other categories are for programmers
        typer.echo(f"warning: {one_line(str(message))}", err=True)


class Screen:
    """Print text and tables, or one JSON document, on standard output, and progress on standard error."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def say(self, text: str) -> None:
        """Print a line, unless the output is JSON."""
        if not self.as_json:
            typer.echo(text)

    def facts(self, facts: dict[str, str]) -> None:
        """Print names and texts, one per line."""
        width = max(map(len, facts)) + 2
        for name, text in facts.items():
            self.say(f"  {name:<{width}}{text}")

    def table(self, columns: list[str], rows: list[list[str]]) -> None:
        """Print a table, at most as wide as the terminal; long cells are folded."""
        if self.as_json:
            return
        from rich import box
        from rich.console import Console
        from rich.table import Table

        table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
        for column in table.columns[1:]:
            column.justify, column.no_wrap = "right", True
        table.columns[0].overflow = "fold"
        for row in rows:
            table.add_row(*row)
        Console(highlight=False, markup=False).print(table)

    def result(self, document: dict[str, Any]) -> None:
        """Print the document if the output is JSON."""
        if self.as_json:
            text = json.dumps(document, default=lambda item: item.tolist() if hasattr(item, "tolist") else str(item))
            typer.echo(json.dumps(json.loads(text, parse_constant=lambda _: None), indent=2))  # NaN to null

    @contextmanager
    def progress(self, text: str, total: int | None) -> Iterator[Callable[[], None]]:
        """Show a progress bar; yields the function to call after each step."""
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task(text, total=total)
            yield lambda: bar.advance(task)
