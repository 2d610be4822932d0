"""`s4signal evaluate`: cross-validation by group, with intervals and spread."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from s4signal.cli.options import AsJson, Choice, Data, Reading, with_options
from s4signal.cli.running import Screen

if TYPE_CHECKING:
    from s4signal.inspection.scores import Predictions

_MOST_GROUPS = 20  # in the table; --json has all


@with_options
def evaluate(
    data: Data,
    reading: Reading,
    choice: Choice,
    folds: Annotated[int, typer.Option(help="Number of folds; at most one per group.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Cross-validate on labelled recordings; cases of one subject, speaker or recording are never split.

    Prints scores with 95 % intervals, their spread over folds and groups, and confused classes.
    """
    from s4signal.cli.data import read_cases
    from s4signal.inspection.scores import cross_validate, folds_of

    screen = Screen(as_json=as_json)
    choice.build(regression=reading.regression)  # an unknown option is refused before anything is read
    cases = read_cases(data, reading).labelled(reading.tags)
    screen.facts(cases.facts())
    model = choice.build(regression=cases.is_regression)
    groups, regression = cases.split_by, cases.is_regression or cases.tags is not None
    parts = folds_of(cases.labels, groups, n_folds=folds, regression=regression, seed=choice.seed)
    name, by = type(model).__name__, "case" if cases.groups is None else "group"
    screen.facts({"protocol": f"{len(parts)}-fold cross-validation of {name}, by {by}"})
    with screen.progress("cross-validating", len(parts)) as step:
        predictions = cross_validate(model, cases.X, cases.labels, groups, parts, step)
    _print(screen, predictions, grouped=cases.groups is not None)
    document = {"estimator": name, "data": cases.document(), "n_folds": len(parts)}
    screen.result(document | scores_document(predictions))


def scores_document(predictions: "Predictions") -> dict[str, Any]:
    """Return scores, their spread and the confusion matrix in the form of JSON."""
    scores = {name: {"value": value, "interval": interval} for name, (value, interval) in predictions.scores().items()}
    document: dict[str, Any] = {"scores": scores, "interval_over_groups": predictions.over_groups()}
    document |= {"folds": predictions.over_folds(), "groups": predictions.by_group()}
    if predictions.classes is not None:
        document["confusion"] = {"classes": predictions.classes.tolist(), "counts": predictions.confusion().tolist()}
    return document


def _print(screen: Screen, predictions: "Predictions", *, grouped: bool) -> None:
    from s4signal.inspection.scores import interval_text

    measure = predictions.measure
    rows = [[name, f"{value:.3f}", interval_text(interval)] for name, (value, interval) in predictions.scores().items()]
    if grouped and (over := predictions.over_groups()) is not None:
        rows.insert(1, [f"{measure}, new groups", "", interval_text(over)])
    if (folds := predictions.over_folds()) is not None:
        n_folds, spread = len(set(predictions.fold.tolist())), f"{folds['min']:.3f} to {folds['max']:.3f}"
        rows.append([f"{measure}, {n_folds} folds", f"{folds['mean']:.3f} ± {folds['sd']:.3f}", spread])
    screen.table(["score", "value", "95 % interval"], rows)
    groups = predictions.by_group()
    if grouped and len(groups) > 1:
        rows = [[g["group"], str(g["n"]), f"{g[measure]:.3f}", interval_text(g.get("interval"))] for g in groups]
        more = f" (the worst {_MOST_GROUPS} of {len(rows)})" if len(rows) > _MOST_GROUPS else ""
        screen.table([f"group{more}", "cases", measure, "95 % interval"], rows[:_MOST_GROUPS])
    if predictions.classes is not None:
        for line in _confused(predictions):
            screen.say(line)


def _confused(predictions: "Predictions", most: int = 5) -> list[str]:
    """Return the most frequent confusions of classes, as lines of text."""
    counts, classes = predictions.confusion(), predictions.classes
    names = [str(name) for name in classes.tolist()] if classes is not None else []
    pairs = [(counts[i, j], a, b) for i, a in enumerate(names) for j, b in enumerate(names) if i != j and counts[i, j]]
    worst = sorted(pairs, key=lambda pair: -pair[0])[:most]
    return [f"  {n} of class {a} predicted as {b}" for n, a, b in worst] or ["  no case is predicted as another class"]
