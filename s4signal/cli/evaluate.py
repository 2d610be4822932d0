"""`s4signal evaluate`: cross-validation by group, with intervals and spread."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from s4signal.cli.options import AsJson, Choice, Data, Reading, with_options
from s4signal.cli.running import Screen

if TYPE_CHECKING:
    from s4signal.inspection.scores import Interval, Predictions

_MOST_GROUPS = 20  # in the table; --json has all


@with_options
def evaluate(
    data: Data,
    reading: Reading,
    choice: Choice,
    folds: Annotated[int, typer.Option(help="Parts to test on in turn; at most one per group.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Cross-validate on labelled recordings; cases of one subject, speaker or recording are never split.

    Prints scores with 95 % intervals, their spread over folds and groups, and which classes are confused.
    """
    from s4signal.cli.data import read_cases
    from s4signal.inspection.scores import cross_validate, folds_of

    screen = Screen(as_json=as_json)
    cases = read_cases(data, reading).labelled()
    screen.facts(cases.facts())
    model = choice.build(regression=cases.is_regression)
    groups, regression = cases.split_by, cases.is_regression
    parts = folds_of(cases.labels, groups, n_folds=folds, regression=regression, seed=choice.seed)
    screen.facts({"protocol": f"{len(parts)}-fold cross-validation of {type(model).__name__}, by group"})
    with screen.progress("cross-validating", len(parts)) as step:
        said = cross_validate(model, cases.X, cases.labels, groups, parts, step)
    _print(screen, said, grouped=cases.groups is not None)
    document = {"estimator": type(model).__name__, "data": cases.document(), "n_folds": len(parts)}
    screen.result(document | scores_document(said))


def scores_document(said: "Predictions") -> dict[str, Any]:
    """Return scores, their spread and the confusion matrix in the form of JSON."""
    scores = {name: {"value": value, "interval": interval} for name, (value, interval) in said.scores().items()}
    document: dict[str, Any] = {"scores": scores, "interval_over_groups": said.over_groups()}
    document |= {"folds": said.over_folds(), "groups": said.by_group()}
    if said.classes is not None:
        document["confusion"] = {"classes": said.classes.tolist(), "counts": said.confusion().tolist()}
    return document


def _print(screen: Screen, said: "Predictions", *, grouped: bool) -> None:
    measure = said.measure
    rows = [[name, f"{value:.3f}", _range(interval)] for name, (value, interval) in said.scores().items()]
    if grouped and (over := said.over_groups()) is not None:
        rows.insert(1, [f"{measure}, new groups", "", _range(over)])
    if (folds := said.over_folds()) is not None:
        name, spread = f"{measure}, {len(set(said.fold.tolist()))} folds", f"{folds['min']:.3f} to {folds['max']:.3f}"
        rows.append([name, f"{folds['mean']:.3f} ± {folds['sd']:.3f}", spread])
    screen.table(["score", "value", "95 % interval"], rows)
    groups = said.by_group()
    if grouped and len(groups) > 1:
        rows = [[g["group"], str(g["n"]), f"{g[measure]:.3f}", _range(g.get("interval"))] for g in groups]
        more = f" (the worst {_MOST_GROUPS} of {len(rows)})" if len(rows) > _MOST_GROUPS else ""
        screen.table([f"group{more}", "cases", measure, "95 % interval"], rows[:_MOST_GROUPS])
    if said.classes is not None:
        for line in _confused(said):
            screen.say(line)


def _confused(said: "Predictions", most: int = 5) -> list[str]:
    """Say which classes are taken for which others most often."""
    counts = said.confusion()
    names = [str(name) for name in said.classes.tolist()] if said.classes is not None else []
    pairs = [(counts[i, j], a, b) for i, a in enumerate(names) for j, b in enumerate(names) if i != j and counts[i, j]]
    worst = sorted(pairs, key=lambda pair: -pair[0])[:most]
    return [f"  {n} of class {a} taken for {b}" for n, a, b in worst] or ["  no case is taken for another class"]


def _range(interval: "Interval | None") -> str:
    return "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
