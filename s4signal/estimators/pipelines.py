"""Pipelines of steps and a model, in one file without pickle and as one stream."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.pipeline import Pipeline

from s4signal.estimators.model_file import load_model, write_model
from s4signal.estimators.provenance import SAVED, fitted_steps, pipeline_from_state, pipeline_state
from s4signal.estimators.segmenter import S4Segmenter
from s4signal.estimators.validation import check_chunk

_KINDS: dict[str, type[Any]] = SAVED | {"S4Segmenter": S4Segmenter}


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
    write_model(path, pipeline_state(pipeline, _KINDS))


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
    return load_model(path, partial(pipeline_from_state, kinds=_KINDS, frontend=frontend))


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
    steps = [step for _, step in fitted_steps(pipeline, _KINDS)]
    models = [step for step in steps if hasattr(step, "predict")]
    streams = [step.stream(sfreq=sfreq) for step in steps if step not in models]
    stream_time_first = None if time_first is None else False  # the pipeline's stream has transposed the chunk
    windows = {name: s for name, s in (("window_s", window_s), ("step_s", step_s)) if s is not None}
    streams += [m.stream(sfreq=sfreq, time_first=stream_time_first, **windows) for m in models]
    rate = getattr(steps[0], "sfreq_", None) if sfreq is None else sfreq
    return PipelineStream(streams, steps[0].n_channels_in_, sfreq=rate, time_first=time_first)
