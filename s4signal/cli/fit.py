"""`s4signal fit`: fit a model to a folder of recordings and save it."""

import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from s4signal.cli.options import AsJson, Choice, Data, Reading, with_options
from s4signal.cli.running import Screen


@with_options
def fit(
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="The model file to write.", show_default=False)],
    reading: Reading,
    choice: Choice,
    as_json: AsJson = False,
) -> None:
    """Fit a model to labelled recordings: class folders, a manifest, EEG with events, .ts or CSV.

    Prints a summary of the data before it starts, and stops with an error on unusable files.
    """
    from s4signal.cli.data import read_cases
    from s4signal.estimators.provenance import Provenance, add_provenance
    from s4signal.inspection.scores import fit_copy

    screen = Screen(as_json=as_json)
    check_out(out)
    choice.build(regression=reading.regression)  # an unknown option is refused before anything is read
    cases = read_cases(data, reading).labelled(reading.tags)
    screen.facts(cases.facts())
    model = choice.build(regression=cases.is_regression)
    trained = "verbose" in model.get_params()  # shows its own progress bar
    if trained and not as_json:
        model.set_params(verbose=1)
    with screen.progress("reading the cases", len(cases.X)) as step:
        provenance = Provenance.of(cases.X, cases.split_by.tolist(), reading.changed(), step)
    with nullcontext() if trained else screen.progress(f"fitting {type(model).__name__}", total=None):
        model = fit_copy(model, cases.X, cases.labels, cases.split_by)
    if cases.tags is not None:
        model.classes_ = cases.tags
    if trained:
        model.set_params(verbose=0)  # without a progress bar in the saved model
    model.save(out)
    add_provenance(out, provenance)
    screen.say("\n" + model.describe())
    screen.say(f"\nwritten to {out}")
    document = {"model": str(out), "estimator": type(model).__name__, "data": cases.document()}
    screen.result({**document, "fit_seconds": getattr(model, "fit_seconds_", None), "reading": reading.changed()})


def check_out(path: Path) -> None:
    """Check that a file can be written, before any computation."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder; pass a file to write.")
    folder = path.absolute().parent
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        text = f"is not writable ({error.strerror})" if folder.is_dir() else "does not exist; create it first"
        raise ValueError(f"the folder {folder} {text}.") from None
