"""The closed-form readout: ridge regression predicts the cases, and the layers learn the residual.

The layers are trained on residuals of leave-one-out predictions, because the residuals of fitted cases are too small.
This holds for classes. For numeric targets, the layers learn the targets themselves: the mean of two models with
independent errors is better, and a residual is harder to learn. The weight of the layers, for targets of both terms, is
the best on held-out cases.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.nn import functional as F

from s4signal.errors import ModelFileError
from s4signal.estimators.classification import calibrated_losses, signs, temperature
from s4signal.estimators.features.drawing import FeatureOptions
from s4signal.estimators.features.recordings import TrainingCases, on_grid
from s4signal.estimators.features.regression import FeatureRegression, Solved, fit_regression
from s4signal.estimators.features.streaming import FeatureStream
from s4signal.estimators.model_file import State
from s4signal.estimators.standardizer import Standardizer
from s4signal.estimators.trained.defaults import FEW_CASES, MOST_CASES, MOST_NUMBERS, LabelledCases
from s4signal.estimators.trained.plan import Plan
from s4signal.nn import S4Network
from s4signal.random_features.left_out import squared_errors
from s4signal.signals import Signals
from s4signal.training import Cases, TrainingOptions, evaluate_network, fit_network

SHARES = (0.0, *2.0 ** np.arange(-5.0, 1.0))  # of the layers in the sum; trained on few cases they are overconfident
N_FOLDS = 5  # maximum

Floats = NDArray[np.float64]
Loss = Callable[[Tensor, Tensor], Tensor]
OffsetsWithout = Callable[[NDArray[np.intp]], Floats]


class Readout(NamedTuple):
    """A regression on frozen features, and the factor from its outputs to those of the network."""

    regression: FeatureRegression
    scale: float

    def scores(self, signals: Signals) -> Floats:
        """Return the scores of cases, (n, n_outputs)."""
        return self.scale * self.regression.outputs(on_grid(signals, self.regression.feature_map.sfreq or 1.0))

    def stream(self, period: float) -> FeatureStream:
        """Return a stream of scores, (n_outputs,)."""
        used, scores = frozenset(self.regression.ridge.blocks), self.regression.at(period, factor=self.scale)
        return FeatureStream(self.regression.feature_map, scores, period=period, wanted=used)

    def describe(self) -> str:
        """Return a short description."""
        ridge = self.regression.ridge
        return f"closed form, of {len(ridge.mean):,} features ({', '.join(ridge.blocks)}), plus the layers"

    def to_state(self) -> State:
        """Return the state in plain values and arrays."""
        state = self.regression.to_state(0)
        return State({**state.plain, "scale": self.scale}, state.arrays)

    @classmethod
    def from_state(cls, state: State, plan: Plan, precision: str) -> "Readout":
        """Check and restore the state of `to_state`, for a network of this plan."""
        regression, _ = FeatureRegression.from_state(
            state, n_channels=plan.n_channels, sfreq=plan.sfreq, precision=precision
        )
        n_outputs = regression.ridge.coef.shape[-1]
        if n_outputs != plan.n_outputs:
            raise ModelFileError(f"its readout has {n_outputs} outputs, not {plan.n_outputs}.")
        return cls(regression, state.value("scale", float, low=0.0, high=np.exp(5.01)))


def fit_readout(
    data: LabelledCases, plan: Plan, standardizer: Standardizer, *, classifies: bool, precision: str, seed: int
) -> tuple[Readout, Floats, OffsetsWithout]:
    """Fit to cases with classes, tags or standardised targets; return also the left-out scores (n, n_outputs).

    A case is left out alone, or with all cases of its group if each class occurs in several groups. The last value is
    a function that returns the scores of all cases by a regression without some.
    """
    if len(data.signals) > MOST_CASES:
        raise ValueError(
            f"readout='closed_form' takes at most {MOST_CASES:,} training cases, got {len(data.signals):,}; use "
            "readout='pooled', and warm_start=False."
        )
    targets, found = signs(data.targets, plan.n_outputs) if classifies else data.targets, data.found
    recordings = on_grid(data.signals, plan.sfreq or 1.0)
    tags = data.targets.ndim == 2 if classifies else None
    loss = squared_errors if tags is None else partial(calibrated_losses, tags=tags)
    options, rng = FeatureOptions(band_hz=plan.band_hz, precision=precision), np.random.RandomState(seed)
    cases = TrainingCases(recordings, targets, data.weights, data.groups)
    complete = None if found.has_times.any() or found.missing.any() else found
    solved = fit_regression(options, cases, rng, seed=seed, found=complete, standardizer=standardizer, loss=loss)
    scale, offsets = _calibrated(solved, solved.regression.ridge.loo_predictions, slice(None), tags)
    return Readout(solved.regression, scale), offsets, partial(_offsets_without, solved, tags)


def _calibrated(solved: Solved, outputs: Floats, rows: Any, tags: bool | None) -> tuple[float, Floats]:
    """Return the factor that calibrates some merged cases (1 if ``tags`` is None), and scores of the given cases."""
    some = outputs[rows], solved.cases.targets[rows], solved.cases.weights[rows]
    scale = 1.0 if tags is None else temperature(*some, tags=tags)
    return scale, (scale * outputs)[solved.places]


def _offsets_without(solved: Solved, tags: bool | None, held_out: NDArray[np.intp]) -> Floats:
    outputs, others = solved.outputs_without(np.unique(solved.places[held_out]))
    return _calibrated(solved, outputs, others, tags)[1]


def in_memory(signals: Signals) -> Signals:
    """Load cases into memory, if they are not too large; otherwise they are read again when needed."""
    if int(signals.lengths.sum()) * signals.n_channels > MOST_NUMBERS:
        return signals
    return Signals.from_cases(case.load() for case in signals.cases)


class Shares(NamedTuple):
    """Weights of a readout and of the layers in their sum."""

    readout: float
    layers: float


class Stacking(NamedTuple):
    """How layers are trained with a readout; with ``alone``, they learn the targets, not its residual."""

    loss: Loss
    options: TrainingOptions
    classifies: bool
    alone: bool

    def learned(self, cases: Cases | None) -> Any:
        """Return the cases for the layers: without the scores of the readout if ``alone``."""
        return replace(cases, offsets=None) if self.alone and cases is not None else cases

    def choose(
        self, network: S4Network, cases: Cases, data: LabelledCases, offsets_without: OffsetsWithout
    ) -> Shares | None:
        """Return the best shares for held-out folds, each predicted by layers and a readout fitted on the others.

        Leave-one-out scores do not suffice: those of the other cases depend on the held-out classes, and the layers
        learn their residuals. With many cases one fold is enough. None if there are too few cases.
        """
        folds = number_folds(data)
        if folds is None:
            return None
        options, parts = replace(self.options, checkpoint_dir=None), []
        for fold in np.unique(folds)[: None if len(cases) < FEW_CASES else 1]:
            others, own = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            scores, fresh = offsets_without(own), copy.deepcopy(network)
            learned = self.learned(replace(cases, offsets=scores))
            trained = fit_network(fresh, learned.take(others), loss=self.loss, options=options).network
            parts.append((own, evaluate_network(trained, learned.take(own), options=options), scores[own]))
        held_out, outputs, offsets = zip(*parts, strict=True)
        tested = replace(cases.take(np.concatenate(held_out)), offsets=np.concatenate(offsets))
        return best_shares(torch.cat(outputs), tested, classifies=self.classifies, alone=self.alone)

    def settle(
        self, readout: Readout, plan: Plan, network: S4Network, shares: Shares | None, validation: Cases | None
    ) -> tuple[Readout, Plan]:
        """Scale the trained layers and the readout by their shares, by default the best for the validation cases."""
        if shares is None and validation is not None:
            outputs = evaluate_network(network, self.learned(validation), options=self.options)
            shares = best_shares(outputs, validation, classifies=self.classifies, alone=self.alone)
        elif shares is None and self.alone:
            shares = Shares(0.5, 0.5)
        if shares is None:
            return readout, plan
        with torch.no_grad():
            for tensor in network.last_weights():
                tensor.mul_(shares.layers)
        counted = f"x {shares.readout:.2g} and layers x {shares.layers:.2g}, best on held-out cases"
        why = f"{plan.why.get('readout', 'given').partition(', x ')[0]}, {counted}"  # replaces earlier shares
        return readout._replace(scale=shares.readout * readout.scale), plan._replace(why={**plan.why, "readout": why})


def best_shares(outputs: Tensor, cases: Cases, *, classifies: bool, alone: bool = False) -> Shares:
    """Return the shares of the offsets of cases, and of what layers add to them, whose sum has the least error.

    Errors are squared, for classes those of probabilities (Brier score): log loss depends too much on single cases.
    Layers that correct no class or tag in total get none: they only make probabilities more certain. Two models that
    were fitted alone are weighted by each other's error, as for independent errors.
    """
    weights, offsets = torch.from_numpy(cases.weights), torch.from_numpy(np.asarray(cases.offsets)).double()
    targets: Any = cases.targets
    tags = targets.is_floating_point()
    expected = targets.cpu().double() if tags else F.one_hot(targets.cpu(), offsets.shape[1])

    def error(outputs: Tensor) -> float:
        if classifies:
            outputs = torch.sigmoid(outputs) if tags else torch.softmax(outputs, 1)
        return float(weights @ (outputs - expected).square().sum(1))

    def mistakes(outputs: Tensor) -> float:
        predicted = outputs > 0.0 if tags else F.one_hot(outputs.argmax(1), outputs.shape[1])
        return float(weights @ (predicted != expected).double().sum(1))

    if alone:
        of_layers, of_readout = error(outputs), error(offsets)
        total = of_layers + of_readout
        return Shares(of_layers / total, of_readout / total) if total else Shares(0.5, 0.5)
    sums = {share: torch.lerp(offsets, outputs.double(), share) for share in SHARES}
    best = min(sums, key=lambda share: error(sums[share]))
    return Shares(1.0, best if not classifies or mistakes(sums[best]) < mistakes(offsets) else 0.0)


def number_folds(data: LabelledCases) -> NDArray[np.intp] | None:
    """Return the fold index of each case, (n,), with groups and duplicates kept whole; None if there are too few.

    The folds depend on the content of the cases, not on their order.
    """
    digests = np.unique([digest.hex() for digest in data.found.digests], return_inverse=True)[1]
    owners = digests if data.groups is None else np.unique(data.groups, return_inverse=True)[1]
    n = len(digests)  # groups that share a case are one
    names = connected_components(coo_matrix((np.ones(n), (owners, n + digests)), (2 * n, 2 * n)))[1][owners]
    classes = data.targets if data.groups is None and data.targets.dtype.kind in "iu" else np.zeros(len(names), np.intp)
    members = [np.flatnonzero(classes == label) for label in np.unique(classes)]
    n_folds = min(N_FOLDS, *(len(np.unique(names[rows])) for rows in members))
    if n_folds < 2:
        return None
    folds = np.empty(len(names), np.intp)
    for rows in members:
        folds[rows] = np.unique(names[rows], return_inverse=True)[1] % n_folds
    return folds
