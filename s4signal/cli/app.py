"""The program `s4signal` and its commands."""

from collections.abc import Callable
from typing import Annotated

import typer

from s4signal.cli.demo import demo
from s4signal.cli.evaluate import evaluate
from s4signal.cli.export import export
from s4signal.cli.fit import fit
from s4signal.cli.info import info
from s4signal.cli.predict import predict
from s4signal.cli.report import report
from s4signal.cli.running import checked
from s4signal.cli.stream import stream
from s4signal.version import __version__

COMMANDS: list[tuple[Callable[..., None], str]] = [  # with an example of each
    (demo, "s4signal demo demo_folder"),
    (fit, "s4signal fit recordings --out model.s4"),
    (predict, "s4signal predict model.s4 new_recordings --out predictions.csv"),
    (evaluate, "s4signal evaluate recordings --folds 5 --json"),
    (info, "s4signal info model.s4"),
    (report, "s4signal report model.s4 recordings -o report.html"),
    (export, "s4signal export model.s4 model.onnx"),
    (stream, "s4signal stream model.s4 recording.wav --chunk 0.1"),
]

app = typer.Typer(
    name="s4signal",
    help="Raw EEG, PPG, ECG or speech in, predictions out.",
    epilog="Exit codes: 0 success, 1 internal error, 2 invalid input, 130 interrupted. "
    "S4SIGNAL_TRACEBACK=1 shows the traceback of an error.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command, _example in COMMANDS:
    app.command(epilog=f"Example: {_example}", no_args_is_help=_command is not demo)(checked(_command))


def _show_version(requested: bool) -> None:
    if requested:
        typer.echo(f"s4signal {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Raw EEG, PPG, ECG or speech in, predictions out."""


def main() -> None:
    """Run the program; the entry point of the shell command."""
    app(prog_name="s4signal")
