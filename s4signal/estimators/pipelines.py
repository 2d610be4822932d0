"""Pipelines of steps and a model, in one file without pickle and as one stream."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from s4signal.errors import ModelFileError, ShapeError
from s4signal.estimators.alignment import AlignRecordings
from s4signal.estimators.model_file import State, load_model, packed, unpacked, write_model
from s4signal.estimators.preprocessing.amplitude import Baseline, Clip, RobustScale
from s4signal.estimators.preprocessing.channels import InterpolateBads, Rereference
from s4signal.estimators.preprocessing.filters import BandPass, Notch, Resample
from s4signal.estimators.preprocessing.to_array import ToArray
from s4signal.estimators.provenance import ESTIMATORS
from s4signal.estimators.segmenter import S4Segmenter
from s4signal.estimators.validation import check_chunk

_STEPS = (BandPass, Baseline, Clip, InterpolateBads, Notch, Rereference, Resample, RobustScale, ToArray)
_MODELS: tuple[Any, ...] = (*ESTIMATORS.values(), S4Segmenter)
SAVED: dict[str, Any] = {kind.__name__: kind for kind in (AlignRecordings, *_STEPS, *_MODELS)}
_MOST_STEPS = 100


class PipelineStream:
    """Stream of steps and a model, one after the other; created by `stream_pipeline`."""

    def __init__(self, streams: list[Any], n_channels: int, **options: Any) -> None:
        self._streams, self._n_channels, self._options = streams, n_channels, options  # rate, and which axis is time

    def reset(self) -> None:
        """Discard all samples so far."""
        for stream in self._streams:
            stream.reset()

    def push(self, chunk: ArrayLike) -> NDArray[np.floating]:
        """Process the next samples, (n_channels, n_times) of any number.

        Returns ``predict_proba`` (a classifier) or ``predict`` (a regressor) of the pipeline for all samples so far,
        (n_outputs,). NaN is a dropped sample; an invalid chunk raises the same errors as in the stream of a model.
        """
        data: NDArray[np.floating] = check_chunk(chunk, self._n_channels, missing="any", **self._options)
        for stream in self._streams:
            data = stream.push(data)
        return data


def save_pipeline(pipeline: Pipeline, path: Any) -> None:
    """Write a fitted pipeline of preprocessing steps and a model to one file, without pickle.

    Parameters
    ----------
    pipeline : sklearn.pipeline.Pipeline
        Fitted; its steps are preprocessing steps of `s4signal.estimators`, and the last one may be one of the four
        models. ``"passthrough"`` is omitted.
    path : path
        The file, by convention ``*.s4``.

    Raises
    ------
    NotFittedError
        If a step is not fitted.
    TypeError
        If a step is of another library.
    ValueError
        If a parameter cannot be saved.

    Examples
    --------
    >>> import numpy as np
    >>> from tempfile import TemporaryDirectory
    >>> from sklearn.pipeline import make_pipeline
    >>> from s4signal import S4RidgeClassifier
    >>> from s4signal.estimators import BandPass, load_pipeline, save_pipeline
    >>> X = np.random.default_rng(0).standard_normal((20, 2, 250))
    >>> model = make_pipeline(BandPass(8, 30, sfreq=125), S4RidgeClassifier(n_oscillators=4)).fit(X, [0, 1] * 10)
    >>> with TemporaryDirectory() as folder:
    ...     save_pipeline(model, f"{folder}/model.s4")
    ...     again = load_pipeline(f"{folder}/model.s4")
    >>> bool((again.predict_proba(X) == model.predict_proba(X)).all())
    True
    """
    steps = _fitted_steps(pipeline)
    state = State({"estimator": "Pipeline", "steps": [[name, type(step).__name__] for name, step in steps]}, {})
    for number, (_, step) in enumerate(steps):
        state.arrays[f"step {number}"] = packed(step)
    write_model(path, state)


def load_pipeline(path: Any, *, frontend: Any = None) -> Pipeline:
    """Read a pipeline that `save_pipeline` wrote; nothing the file contains is executed.

    Parameters
    ----------
    path : path
        The file.
    frontend : Module, optional
        As in `S4Classifier.load`.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Fitted, on the CPU.

    Raises
    ------
    ModelFileError
        If the file is not a model file or is damaged.

    Examples
    --------
    >>> import numpy as np
    >>> from tempfile import TemporaryDirectory
    >>> from sklearn.pipeline import make_pipeline
    >>> from s4signal.estimators import Clip, RobustScale, load_pipeline, save_pipeline
    >>> steps = make_pipeline(RobustScale(), Clip(5)).fit(np.random.default_rng(0).standard_normal((4, 2, 100)))
    >>> with TemporaryDirectory() as folder:
    ...     save_pipeline(steps, f"{folder}/steps.s4")
    ...     [name for name, _ in load_pipeline(f"{folder}/steps.s4").steps]
    ['robustscale', 'clip']
    """

    def from_state(state: State) -> Pipeline:
        if (kind := state.value("estimator", str)) != "Pipeline":
            raise ModelFileError(f"it holds a {kind}, not a pipeline; use {kind}.load.")
        entries = state.values("steps", list)
        if not 0 < len(entries) <= _MOST_STEPS:
            raise ModelFileError(f"it has {len(entries)} steps, but a pipeline has 1 to {_MOST_STEPS}.")
        steps = []
        for number, line in enumerate(entries):
            name, kind = State({"step": line}, {}).values("step", str, length=2)
            given = {"frontend": frontend} if kind in ("S4Classifier", "S4Regressor") else {}
            what = f"step {name[:40]!r} is a"
            steps.append((name, unpacked(SAVED, kind, state, f"step {number}", what=what, **given)))
        return Pipeline(steps)

    return load_model(path, from_state)


def stream_pipeline(
    pipeline: Pipeline,
    *,
    sfreq: float | None = None,
    window_s: float | None = None,
    step_s: float | None = None,
    time_first: bool | None = None,
) -> PipelineStream:
    """Return a stream of a fitted pipeline; its output equals the prediction of all samples so far.

    Parameters
    ----------
    pipeline : sklearn.pipeline.Pipeline
        Causal steps, such as ``BandPass(..., causal=True)``, `Notch` with the same, `Rereference`, `RobustScale` and
        `Clip`, and a model with ``stream()``. `AlignRecordings` aligns by the samples so far instead of all samples.
    sfreq, window_s, step_s, time_first : as the ``stream`` of the model takes them
        Rate in Hz, windows in seconds, and whether time comes first; a new window does not restart the steps.

    Returns
    -------
    PipelineStream
        With ``push(chunk)`` and ``reset()``.

    Raises
    ------
    NotFittedError
        If a step is not fitted.
    TypeError
        If a step is of another library.
    ValueError
        If a step or the model looks ahead.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from s4signal import S4RidgeClassifier
    >>> from s4signal.estimators import BandPass, stream_pipeline
    >>> X = np.random.default_rng(0).standard_normal((20, 2, 250))
    >>> steps = BandPass(8, 30, causal=True, sfreq=125), S4RidgeClassifier(n_oscillators=4)
    >>> model = make_pipeline(*steps).fit(X, [0, 1] * 10)
    >>> stream = stream_pipeline(model)
    >>> for chunk in np.split(X[0], 5, axis=1):
    ...     scores = stream.push(chunk)
    >>> bool(np.allclose(scores, model.predict_proba(X[:1])[0], atol=1e-5))
    True
    """
    steps = [step for _, step in _fitted_steps(pipeline)]
    models = [step for step in steps if isinstance(step, _MODELS)]
    streams = [step.stream(sfreq=sfreq) for step in steps if step not in models]
    stream_time_first = None if time_first is None else False  # the pipeline's stream has transposed the chunk
    windows = {name: s for name, s in (("window_s", window_s), ("step_s", step_s)) if s is not None}
    streams += [m.stream(sfreq=sfreq, time_first=stream_time_first, **windows) for m in models]
    rate = getattr(steps[0], "sfreq_", None) if sfreq is None else sfreq
    return PipelineStream(streams, steps[0].n_channels_in_, sfreq=rate, time_first=time_first)


def _fitted_steps(pipeline: Any) -> list[tuple[str, Any]]:
    """Return the steps that are not skipped; refuse those of other libraries."""
    if not isinstance(pipeline, Pipeline):
        raise TypeError(
            f"a Pipeline is needed, got {type(pipeline).__name__}; models have save and stream of their own."
        )
    steps = [(name, step) for name, step in pipeline.steps if step is not None and not isinstance(step, str)]
    if not steps:
        raise ShapeError("the pipeline has no step.")
    for name, step in steps:
        if type(step) not in SAVED.values():
            raise TypeError(
                f"step {name!r} is a {type(step).__name__}, which cannot be saved without pickle and has no stream. "
                f"Use one of {', '.join(SAVED)}, or save the pipeline with joblib."
            )
        check_is_fitted(step)
    return steps
