"""Options shared by several commands."""

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
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Data = Annotated[
    Path, typer.Argument(metavar="DATA", help="A folder, a manifest (CSV) or a file of recordings.", show_default=False)
]
ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="A model saved by `fit`.", show_default=False)]


def _option(*names: str, panel: str = DATA, **settings: Any) -> Any:
    return typer.Option(*names, rich_help_panel=panel, show_default=False, **settings)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How to read recordings; a model file stores it, and `predict`, `report` and `stream` reuse it."""

    pattern: Annotated[
        str | None, _option(help='Pattern of file names: "{label}_{group}_{take}.wav"; of paths if it has "/".')
    ] = None
    manifest: Annotated[Path | None, _option(help="A CSV file that lists the recordings of the folder.")] = None
    path_column: Annotated[str, _option(help="Manifest: column of paths; by default path.")] = "path"
    label_column: Annotated[str, _option(help="Column of labels; by default label.")] = "label"
    group_column: Annotated[str | None, _option(help="Column of subjects or speakers; by default group.")] = None
    split: Annotated[str | None, _option(help="Read only this part of the data set, such as train.")] = None
    on_error: Annotated[Literal["raise", "skip"], _option(help="What to do with unusable audio or EEG.")] = "raise"
    case_column: Annotated[str | None, _option(help="CSV of samples: column of the case.")] = None
    time_column: Annotated[str | None, _option(help="CSV of samples: column of the time in seconds.")] = None
    sfreq: Annotated[float | None, _option(help="Rate to resample to, or of CSV and .ts files, Hz.")] = None
    picks: Annotated[str | None, _option(help="Channels, separated by commas, or an MNE type such as eeg.")] = None
    l_freq: Annotated[float | None, _option(help="EEG: lower edge of a band-pass filter, Hz.")] = None
    h_freq: Annotated[float | None, _option(help="EEG: upper edge of the band-pass filter, Hz.")] = None
    window: Annotated[float | None, _option(help="Cut recordings into windows of this length in seconds.")] = None
    step: Annotated[float | None, _option(help="Seconds between windows; by default --window, in streams half.")] = None
    tmin: Annotated[float, _option(help="Cut around events: start, in seconds after the event.")] = 0.0
    tmax: Annotated[float | None, _option(help="Cut around events: end, in seconds after the event.")] = None
    event: Annotated[list[str] | None, _option(help="An event to use; can be repeated. By default all.")] = None
    tags: Annotated[str | None, _option(help="A case may have several labels, between these: --tags ';'.")] = None
    regression: Annotated[bool, _option("--regression", help="Labels are numeric targets.")] = False

    def changed(self) -> dict[str, Any]:
        """Return the options that differ from their defaults, in the form of JSON."""
        fields = {field.name: (getattr(self, field.name), field.default) for field in dataclasses.fields(self)}
        return {k: str(v) if isinstance(v, Path) else v for k, (v, default) in fields.items() if v not in (default, [])}

    def after(self, stored: dict[str, Any] | None, *, left_out: tuple[str, ...] = ()) -> "Reading":
        """Return these options, with the stored ones of a model for those not given; other names are ignored."""
        left_out += ("pattern",) if self.manifest is not None else ()  # labels have one source
        names = {field.name for field in dataclasses.fields(self)} - {"manifest", "split", *left_out, *self.changed()}
        return dataclasses.replace(self, **{name: value for name, value in (stored or {}).items() if name in names})


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The model and its parameters."""

    estimator: Annotated[
        str, _option("--estimator", panel=MODEL, help="ridge (closed form, seconds) or s4 (trained network).")
    ] = "ridge"
    causal: Annotated[bool, _option("--causal", panel=MODEL, help="s4: causal, for streams.")] = False
    lookahead: Annotated[float | None, _option(panel=MODEL, help="s4: look-ahead in seconds, for streams.")] = None
    set: Annotated[list[str] | None, _option("--set", panel=MODEL, help="A parameter, such as d_model=32. Repeat.")] = (
        None
    )
    seed: Annotated[int, _option(panel=MODEL, help="Random seed; by default 0.")] = 0

    def build(self, *, regression: bool) -> Any:
        """Return an unfitted estimator; ValueError if a parameter is unknown."""
        from s4signal import estimators

        kinds = {
            "ridge": (estimators.S4RidgeClassifier, estimators.S4RidgeRegressor),
            "s4": (estimators.S4Classifier, estimators.S4Regressor),
        }
        if self.estimator not in kinds:
            raise ValueError(f"--estimator {self.estimator} is unknown; choose ridge or s4.")
        if self.estimator == "ridge" and (self.causal or self.lookahead is not None):
            option = "--causal" if self.causal else "--lookahead"
            raise ValueError(f"{option} is for --estimator s4; a ridge model always follows streams.")
        model = kinds[self.estimator][regression]()
        parameters = dict(map(_parameter, self.set or []), random_state=self.seed)
        if self.causal:
            parameters["bidirectional"] = False
        if self.lookahead is not None:
            parameters["lookahead_s"] = self.lookahead
        known = model.get_params()
        if bad := [name for name in parameters if name not in known]:
            raise ValueError(f"--set {bad[0]}: {type(model).__name__} has the parameters {', '.join(sorted(known))}.")
        return model.set_params(**parameters)


def _parameter(text: str) -> tuple[str, Any]:
    """Parse name=value; the value is a Python literal or a string."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"--set {text!r} must be name=value, such as d_model=32.")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the `Reading` and `Choice` parameters of a command by their single options."""
    hints = get_type_hints(command, include_extras=True)
    bundles = {name: kind for name, kind in hints.items() if kind in (Reading, Choice)}
    plain = [p for p in inspect.signature(command).parameters.values() if p.name not in bundles]
    single = {field.name: field for kind in bundles.values() for field in dataclasses.fields(kind)}

    @functools.wraps(command)
    def run(**given: Any) -> None:
        built = {n: k(**{f.name: given.pop(f.name) for f in dataclasses.fields(k)}) for n, k in bundles.items()}
        command(**given, **built)

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [p.replace(kind=keyword) for p in plain]
    parameters += [inspect.Parameter(n, keyword, default=f.default, annotation=f.type) for n, f in single.items()]
    annotations = {p.name: hints.get(p.name, p.annotation) for p in parameters}
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = annotations
    del run.__wrapped__  # type: ignore[attr-defined]
    return run
