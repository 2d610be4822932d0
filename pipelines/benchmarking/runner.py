"""Command line of the benchmarks, and the loop over sets, folds, models and seeds."""

import argparse
import inspect
import itertools
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.metrics import balanced_accuracy_score

from benchmarking.models import MODELS, installed, n_parameters
from benchmarking.results import Key, Results, Scores, Summary, draw, summaries, table
from benchmarking.sets import Array, Fold, folds
from s4signal import Signals
from s4signal.errors import S4SignalError

__all__ = ["benchmark", "measure", "parser"]

Conditions = Mapping[str, Callable[[Signals, Signals], Signals]]  # from training and test cases to changed test cases
AS_RECORDED: Conditions = {"": lambda X_train, X_test: X_test}


def parser(description: str, sets: Mapping[str, str], models: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the common command line; the choice of models is given, or all models for these sets."""
    kinds = set(sets.values())
    models = models or [name for name, model in MODELS.items() if kinds.intersection(model.kinds)]
    cli = argparse.ArgumentParser(description=description)
    cli.add_argument("--sets", nargs="+", choices=sets, default=list(sets), metavar="SET", help=", ".join(sets))
    cli.add_argument("--models", nargs="+", choices=models, metavar="MODEL", help=", ".join(models))
    cli.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0, 1, 2], help="random states, one fit each")
    cli.add_argument("--data", choices=["test", "cv"], default="test", help="test sets, or folds of the training half")
    cli.add_argument("--max-epochs", type=int, help="maximum number of epochs of trained models")
    cli.add_argument("--redo", action="store_true", help="measure stored scores again")
    cli.add_argument("--out", type=Path, default=Path("out"), help="folder for the scores and the figure")
    return cli


def benchmark(name: str, description: str, sets: Mapping[str, str], argv: Sequence[str] | None) -> None:
    """Measure all scores that are not stored yet, print the table and draw the figure."""
    cli = parser(description, sets)
    options = cli.parse_args(argv)
    lines, failed = measure(options, name, sets)
    if not lines:
        cli.error("nothing was measured.")
    path = options.out / f"{name}_{options.data}.png"
    draw(lines, path)
    print(f"\n{table(lines)}\n\n{path}")
    sys.exit(int(failed))


def measure(
    options: argparse.Namespace, name: str, sets: Mapping[str, str], conditions: Conditions = AS_RECORDED
) -> tuple[list[Summary], bool]:
    """Fit every model on every fold of every set; return the lines of the table, and whether any model failed."""
    results = Results(options.out / f"{name}.csv")
    requested: list[Key] = []
    failed = False
    for fold, keys in jobs(options, sets, conditions):
        requested += keys
        missing = [key for key in keys if options.redo or key not in results.rows]
        try:
            for key, scores in fitted(fold, missing, conditions, options.max_epochs) if missing else ():
                results.add(key, scores)
                print(f"{' '.join(map(str, key[:6]))}: {scores.score:.3f}, {scores.fit_seconds:.1f} s", flush=True)
        except Exception as error:  # a model that fails has no score; the others continue
            failed = True
            print(f"{' '.join(map(str, keys[0][:6]))}: {type(error).__name__}: {error}", file=sys.stderr)
    return summaries(results, requested), failed


def jobs(
    options: argparse.Namespace, sets: Mapping[str, str], conditions: Conditions
) -> Iterator[tuple[Fold, list[Key]]]:
    """Yield the fold and the keys of the scores of each fit, skipping sets that are not available."""
    kinds = {sets[name] for name in options.sets}
    models = {
        name: MODELS[name] for name in MODELS if selected(name, options.models) and kinds & set(MODELS[name].kinds)
    }
    absent = {model.package for model in models.values() if not installed(model)}
    if absent:
        print(f"Not installed, so not compared with: {', '.join(sorted(absent))}.")
    settings = "" if options.max_epochs is None else f"max_epochs={options.max_epochs}"
    for name in options.sets:
        try:
            parts = list(folds(name, options.data))
        except S4SignalError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        for fold, (label, model) in itertools.product(parts, models.items()):
            if sets[name] in model.kinds and installed(model):
                for seed in options.seeds if model.seeded else options.seeds[:1]:
                    key = partial(Key, name, options.data, fold.name, model=label, seed=seed, settings=settings)
                    yield fold, [key(condition=condition, version=model.version) for condition in conditions]


def selected(name: str, models: Sequence[str] | None) -> bool:
    """Return whether a model is requested."""
    return MODELS[name].shown if models is None else name in models


def fitted(
    fold: Fold, keys: Sequence[Key], conditions: Conditions, max_epochs: int | None
) -> Iterator[tuple[Key, Scores]]:
    """Fit a model and score it under each condition."""
    model = MODELS[keys[0].model].build(fold, keys[0].seed, max_epochs)
    takes_groups = fold.groups is not None and "groups" in inspect.signature(model.fit).parameters
    started = time.perf_counter()
    model.fit(fold.X_train, fold.y_train, **({"groups": fold.groups} if takes_groups else {}))
    fit_seconds = time.perf_counter() - started
    for key in keys:
        X_test = conditions[key.condition](fold.X_train, fold.X_test)
        started = time.perf_counter()
        predicted = model.predict(X_test)
        seconds = time.perf_counter() - started
        scores = scored(fold.y_test, predicted)
        yield key, Scores(*scores, len(predicted), fit_seconds, seconds, n_parameters(model))


def scored(y: Array, predicted: Array) -> tuple[float, float]:
    """Return accuracy and balanced accuracy, or the root mean square and the mean absolute error."""
    if y.dtype.kind == "f":
        errors = np.abs(np.asarray(predicted, dtype=np.float64) - y)
        return float(np.sqrt(np.mean(errors**2))), float(errors.mean())
    return float(np.mean(predicted == y)), float(balanced_accuracy_score(y, predicted))
