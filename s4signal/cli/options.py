"""Options that several commands have, each written once."""

import ast
import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

DATA, MODEL = "Reading", "Model"
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Data = Annotated[
    Path, typer.Argument(metavar="DATA", help="A folder, a manifest (CSV) or a file of recordings.", show_default=False)
]
ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="A model that `fit` saved.", show_default=False)]


def _option(*names: str, panel: str = DATA, **settings: Any) -> Any:
    return typer.Option(*names, rich_help_panel=panel, show_default=False, **settings)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How recordings become cases; a model remembers it, and `predict`, `report` and `stream` read alike."""

    pattern: Annotated[
        str | None, _option(help='How files are named: "{label}_{group}_{take}.wav"; with "/", their paths.')
    ] = None
    manifest: Annotated[Path | None, _option(help="A CSV file that lists the recordings of the folder.")] = None
    path_column: Annotated[str, _option(help="Column of paths in a manifest: path.")] = "path"
    label_column: Annotated[str, _option(help="Column of labels: label.")] = "label"
    group_column: Annotated[str | None, _option(help="Column of subjects or speakers: group.")] = None
    split: Annotated[str | None, _option(help="Read this part of the data set alone, such as train.")] = None
    on_error: Annotated[Literal["raise", "skip"], _option(help="Of audio: what to do with unusable files.")] = "raise"
    case_column: Annotated[str | None, _option(help="Of a CSV of samples: column that tells the case.")] = None
    time_column: Annotated[str | None, _option(help="Of a CSV of samples: column of the seconds.")] = None
    sfreq: Annotated[float | None, _option(help="Hz: resample to it, or the rate of CSV and .ts files.")] = None
    picks: Annotated[str | None, _option(help="Channels, separated by commas, or a type of MNE such as eeg.")] = None
    l_freq: Annotated[float | None, _option(help="EEG: lower edge of a band-pass filter, Hz.")] = None
    h_freq: Annotated[float | None, _option(help="EEG: upper edge of it, Hz.")] = None
    window: Annotated[float | None, _option(help="Cut recordings into windows of so many seconds.")] = None
    step: Annotated[float | None, _option(help="Seconds from window to window; by default their length.")] = None
    tmin: Annotated[float, _option(help="Cut around events: from so many seconds after each.")] = 0.0
    tmax: Annotated[float | None, _option(help="Cut around events: to so many seconds after each.")] = None
    event: Annotated[list[str] | None, _option(help="An event to take; repeat it. By default all.")] = None
    regression: Annotated[bool, _option("--regression", help="Labels are numbers to predict.")] = False

    def changed(self) -> dict[str, Any]:
        """Return what is not as by default, in the form of JSON."""
        fields = ((field.name, getattr(self, field.name), field.default) for field in dataclasses.fields(self))
        return {
            name: str(value) if isinstance(value, Path) else value
            for name, value, default in fields
            if value not in (default, [])
        }

    def after(self, remembered: dict[str, Any] | None, *, left_out: tuple[str, ...] = ()) -> "Reading":
        """Return what was asked for now, and for the rest what a model remembers; other names are passed over."""
        known = {field.name for field in dataclasses.fields(self)} - {"manifest", "split", *left_out}
        old = {name: value for name, value in (remembered or {}).items() if name in known}
        return dataclasses.replace(self, **{**old, **self.changed()})


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which model, with which parameters."""

    estimator: Annotated[
        str, _option("--estimator", panel=MODEL, help="ridge (closed form, seconds) or s4 (trained network).")
    ] = "ridge"
    causal: Annotated[bool, _option("--causal", panel=MODEL, help="s4 that can follow a stream.")] = False
    lookahead: Annotated[
        float | None, _option(panel=MODEL, help="s4 that sees so many seconds ahead, and follows a stream.")
    ] = None
    set: Annotated[list[str] | None, _option("--set", panel=MODEL, help="A parameter: --set d_model=32. Repeat.")] = (
        None
    )
    seed: Annotated[int, _option(panel=MODEL, help="Seed: 0.")] = 0

    def build(self, *, regression: bool) -> Any:
        """Return an estimator that is not fitted; ValueError if a parameter is unknown."""
        from s4signal import estimators

        kinds = {
            "ridge": (estimators.S4RidgeClassifier, estimators.S4RidgeRegressor),
            "s4": (estimators.S4Classifier, estimators.S4Regressor),
        }
        if self.estimator not in kinds:
            raise ValueError(f"--estimator {self.estimator} is unknown; choose ridge or s4.")
        if self.estimator == "ridge" and (self.causal or self.lookahead is not None):
            asked = "--causal" if self.causal else "--lookahead"
            raise ValueError(f"{asked} is for --estimator s4; a ridge model follows a stream as it is.")
        model = kinds[self.estimator][regression]()
        parameters = dict(map(_parameter, self.set or []), random_state=self.seed)
        if self.causal:
            parameters["bidirectional"] = False
        if self.lookahead is not None:
            parameters["lookahead_s"] = self.lookahead
        known = model.get_params()
        odd = [name for name in parameters if name not in known]
        if odd:
            raise ValueError(f"--set {odd[0]}: {type(model).__name__} has the parameters {', '.join(sorted(known))}.")
        return model.set_params(**parameters)


def _parameter(text: str) -> tuple[str, Any]:
    """Understand name=value, a value of Python or a text."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"--set {text!r} is no name=value, such as d_model=32.")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the single options of each of its parameters that is a `Reading` or a `Choice`."""
    hints = get_type_hints(command, include_extras=True)
    bundles = {name: kind for name, kind in hints.items() if kind in (Reading, Choice)}
    plain = [p for p in inspect.signature(command).parameters.values() if p.name not in bundles]
    single = {field.name: field for kind in bundles.values() for field in dataclasses.fields(kind)}

    @functools.wraps(command)
    def run(**given: Any) -> None:
        made = {n: k(**{f.name: given.pop(f.name) for f in dataclasses.fields(k)}) for n, k in bundles.items()}
        command(**given, **made)

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [p.replace(kind=keyword) for p in plain]
    parameters += [inspect.Parameter(n, keyword, default=f.default, annotation=f.type) for n, f in single.items()]
    annotations = {p.name: hints.get(p.name, p.annotation) for p in parameters}
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = annotations
    del run.__wrapped__  # type: ignore[attr-defined]
    return run
