"""`s4signal report`: a page on a model: data, protocol, leakage, scores, cases, bands and memory."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s4signal.cli.fit import check_out
from s4signal.cli.options import AsJson, Data, ModelFile, Reading, with_options
from s4signal.cli.running import Screen

if TYPE_CHECKING:
    from s4signal.cli.data import Cases
    from s4signal.estimators.provenance import Provenance

PROTOCOLS = ("auto", "held-out", "cross-validation")


@with_options
def report(
    model: ModelFile,
    data: Data,
    reading: Reading,
    out: Annotated[Path, typer.Option("--out", "-o", help="The page to write.")] = Path("report.html"),
    protocol: Annotated[str, typer.Option(help=f"One of {', '.join(PROTOCOLS)}.")] = "auto",
    folds: Annotated[int, typer.Option(help="Folds of a cross-validation; at most one per group.")] = 5,
    curve: Annotated[bool, typer.Option(help="Draw a learning curve, if cross-validated.")] = True,
    as_json: AsJson = False,
) -> None:
    """Write a self-contained HTML page about a model on labelled recordings.

    Training cases are cross-validated by group, with the same parameters; other cases are held out.
    """
    from s4signal.cli.data import read_cases
    from s4signal.cli.evaluate import scores_document
    from s4signal.estimators.provenance import load_estimator, read_provenance
    from s4signal.inspection.report import write_report

    if protocol not in PROTOCOLS:
        raise ValueError(f"--protocol {protocol} is unknown; choose one of {', '.join(PROTOCOLS)}.")
    check_out(out)
    fitted, provenance = load_estimator(model), read_provenance(model)
    cases = read_cases(data, reading.after(provenance.reading)).labelled()
    if cases.is_regression == hasattr(fitted, "classes_") or getattr(fitted, "multilabel_", False):
        raise ValueError(f"{model} ({type(fitted).__name__}) has no report of tags or other labels (see --regression).")
    screen = Screen(as_json=as_json)
    screen.facts(cases.facts())
    with screen.progress("evaluating", total=None) as step:
        page = evaluation(fitted, model, cases, provenance, protocol=protocol, folds=folds, curve=curve, step=step)
    screen.facts({"protocol": page.protocol})
    for ok, text in page.checks:
        screen.say(f"  {'✓' if ok else '!'} {text}")
    write_report(out, page)
    screen.say(f"written to {out}, {os.path.getsize(out) / 1e6:.1f} MB")
    document = {"report": str(out), "protocol": page.protocol, "checks": [list(check) for check in page.checks]}
    screen.result(document | scores_document(page.predictions))


def evaluation(
    fitted: Any,
    path: Path,
    cases: "Cases",
    provenance: "Provenance",
    *,
    protocol: str,
    folds: int,
    curve: bool,
    step: Callable[[], None],
) -> Any:
    """Evaluate a model by cross-validation if it was fitted on these cases, else on them as held-out cases."""
    from s4signal.inspection.report import Evaluation
    from s4signal.inspection.scores import cross_validate, folds_of, learning_curve, predictions_of

    seen, checks = known_cases(cases, provenance)
    y, groups, points = cases.labels, cases.split_by, list[tuple[float, int, float]]()
    if protocol == "cross-validation" or (protocol == "auto" and seen):
        parts = folds_of(y, groups, n_folds=folds, regression=cases.is_regression)
        predictions, checks = cross_validate(fitted, cases.X, y, groups, parts, step), split_checks(cases, parts)
        by = "case" if cases.groups is None else "group"
        text = f"{len(parts)}-fold cross-validation by {by}: models with the parameters of the saved model, each "
        text += f"fitted without the {by}s that it is scored on."
        if curve:
            points = [(1.0, len(train), float(predictions.measured[test].mean())) for train, test in parts]
            points += learning_curve(fitted, cases.X, y, groups, parts)
    else:
        predictions = predictions_of(fitted, cases.X, y, groups)
        text = "The saved model predicts these cases, which are held out."
    return Evaluation(fitted, path, cases.X, predictions, cases.facts(), text, checks, points, cases.groups is not None)


def known_cases(cases: "Cases", provenance: "Provenance") -> tuple[int, list[tuple[bool, str]]]:
    """Return the number of training cases among the cases, and checks; groups are compared by name."""
    import numpy as np

    from s4signal.estimators.provenance import Provenance

    if not len(provenance.cases):
        return 0, [(False, "The file does not list the training cases of the model: these cases may be among them.")]
    current = Provenance.of(cases.X, cases.split_by.tolist(), {}, lambda: None)
    seen = int(np.isin(current.cases, provenance.cases).sum())
    n = len(provenance.cases)
    checks = [(not seen, f"{seen} of {len(cases.X)} cases are among the {n} that the model was fitted on.")]
    if cases.groups is None:
        return seen, [*checks, (False, "No groups are known: cases of people in the training data cannot be detected.")]
    shared = int(np.isin(current.groups, provenance.groups).sum())
    text = f"{shared} of {len(current.groups)} groups have the name of a group that the model was fitted on."
    return seen, [*checks, (not shared, text)]


def split_checks(cases: "Cases", parts: list[Any]) -> list[tuple[bool, str]]:
    """Return checks for leakage between training and test cases of the folds."""
    from s4signal.estimators import check_leakage

    leaks = check_leakage(cases.X, cases.split_by, parts, y=None if cases.is_regression else cases.labels)
    checks = [(False, str(leak)) for leak in leaks[:10]]
    if not leaks:
        checks = [(True, "No group, recording, copied or overlapping samples are on both sides of a fold.")]
    if cases.groups is None:
        text = "No groups are known: each case is treated as independent; cases of a person may be on both sides."
        checks.append((False, text))
    return checks
