"""The readout in closed form: what ridge regression says of the cases, from which the layers learn the rest.

The layers are trained on what is left of the training cases by predictions of each case from the others, so that what
the regression has learned by heart is not taken for what it knows. Layers learn what the readout leaves over of the
classes. Of numbers they learn the numbers themselves: two that err apart are better in the mean, and what one leaves
over is hardest to learn. Both count as much as serves cases that neither was fitted on.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
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
N_FOLDS = 5  # at most

Floats = NDArray[np.float64]
Loss = Callable[[Tensor, Tensor], Tensor]
OffsetsWithout = Callable[[NDArray[np.intp]], Floats]


class Readout(NamedTuple):
    """A regression on frozen features, and the factor from its outputs to those of the network."""

    regression: FeatureRegression
    scale: float

    def scores(self, signals: Signals) -> Floats:
        """Score cases, (n, n_outputs); they are not read where nothing of it counts."""
        if self.scale == 0.0:
            return np.zeros((len(signals), self.regression.ridge.coef.shape[-1]))
        return self.scale * self.regression.outputs(on_grid(signals, self.regression.feature_map.sfreq or 1.0))

    def stream(self, period: float) -> FeatureStream:
        """Return what scores a signal as it arrives, (n_outputs,)."""
        used, scores = frozenset(self.regression.ridge.blocks), self.regression.at(period, factor=self.scale)
        return FeatureStream(self.regression.feature_map, scores, period=period, wanted=used)

    def describe(self) -> str:
        """Return a phrase for a person."""
        ridge = self.regression.ridge
        return f"closed form, of {len(ridge.mean):,} features ({', '.join(ridge.blocks)}), to which the layers add"

    def to_state(self) -> State:
        """Say it in plain values and arrays."""
        state = self.regression.to_state(0)
        return State({**state.plain, "scale": self.scale}, state.arrays)

    @classmethod
    def from_state(cls, state: State, plan: Plan, precision: str) -> "Readout":
        """Check and restore what `to_state` said, for a network of this plan."""
        known: dict[str, Any] = {"n_channels": plan.n_channels, "sfreq": plan.sfreq, "precision": precision}
        regression, _ = FeatureRegression.from_state(state, **known)
        n_outputs = regression.ridge.coef.shape[-1]
        if n_outputs != plan.n_outputs:
            raise ModelFileError(f"its readout has {n_outputs} outputs, not {plan.n_outputs}.")
        return cls(regression, state.value("scale", float, low=0.0, high=np.exp(5.01)))


def fit_readout(
    data: LabelledCases, plan: Plan, standardizer: Standardizer, *, classifies: bool, precision: str, seed: int
) -> tuple[Readout, Floats, OffsetsWithout]:
    """Fit to cases with classes, tags or standardised targets; return also leave-one-out scores (n, n_outputs).

    Each case is left out, or all of its group, where each class is of several groups. Return last what returns the
    scores of all cases for a regression without some.
    """
    if len(data.signals) > MOST_CASES:
        raise ValueError(
            f"readout='closed_form' takes at most {MOST_CASES:,} training cases, got {len(data.signals):,}; use "
            "readout='pooled', and warm_start=False."
        )
    targets, found = signs(data.targets, plan.n_outputs) if classifies else data.targets, data.found
    recordings, weights = on_grid(data.signals, plan.sfreq or 1.0), data.weights / data.weights.max()
    loss = partial(calibrated_losses, tags=data.targets.ndim == 2) if classifies else squared_errors
    complete = not found.has_times.any() and not found.missing.any()
    solved = fit_regression(
        FeatureOptions(band_hz=plan.band_hz, precision=precision),
        TrainingCases(recordings, targets, weights, data.groups),
        np.random.RandomState(seed),
        seed=seed,
        targets=lambda merged: merged.targets,
        found=found if complete else None,
        standardizer=standardizer,
        loss=loss,
    )
    tags = data.targets.ndim == 2 if classifies else None
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
    """Read cases, if they are not too large to be kept; else they are read once more."""
    if int(signals.lengths.sum()) * signals.n_channels > MOST_NUMBERS:
        return signals
    return Signals.from_cases(case.load() for case in signals.cases)


class Shares(NamedTuple):
    """How much a readout and layers count in their sum."""

    readout: float
    layers: float


class Stacking(NamedTuple):
    """How layers are trained beside a readout; ``alone``, they learn the targets, not what it leaves over."""

    loss: Loss
    options: TrainingOptions
    classifies: bool
    alone: bool

    def learned(self, cases: Cases | None) -> Any:
        """Return the cases as layers learn them: without what the readout says, or with it."""
        return replace(cases, offsets=None) if self.alone and cases is not None else cases

    def choose(
        self, network: S4Network, cases: Cases, data: LabelledCases, offsets_without: OffsetsWithout
    ) -> Shares | None:
        """Return the best shares for the cases of each fold, of layers and a readout that are fitted on the others.

        Leave-one-out scores would not do: those of the other cases know the held-out classes, and the layers learn
        residuals. Of many cases one fold is enough. None where there are too few.
        """
        folds = number_folds(data)
        if folds is None:
            return None
        options = replace(self.options, checkpoint_dir=None)
        held_out, outputs, offsets = [], [], []
        for fold in np.unique(folds)[: None if len(cases) < FEW_CASES else 1]:
            others, own = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            scores, fresh = offsets_without(own), copy.deepcopy(network)
            learned = self.learned(replace(cases, offsets=scores))
            trained = fit_network(fresh, learned.take(others), loss=self.loss, options=options).network
            outputs.append(evaluate_network(trained, learned.take(own), options=options))
            held_out.append(own)
            offsets.append(scores[own])
        tested = replace(cases.take(np.concatenate(held_out)), offsets=np.concatenate(offsets))
        return self._best(torch.cat(outputs), tested)

    def settle(
        self, readout: Readout, plan: Plan, network: S4Network, shares: Shares | None, validation: Cases | None
    ) -> tuple[Readout, Plan]:
        """Let trained layers and the readout count for their shares, by default those of validation cases."""
        if shares is None and validation is not None:
            shares = self._best(evaluate_network(network, self.learned(validation), options=self.options), validation)
        elif shares is None and self.alone:
            shares = Shares(0.5, 0.5)
        if shares is None:
            return readout, plan
        with torch.no_grad():
            for part in (network.head, network.summary):
                for tensor in () if part is None else part.parameters():
                    tensor.mul_(shares.layers)
        counted = f"x {shares.readout:.2g} and layers x {shares.layers:.2g} by cases left out"
        why = f"{plan.why.get('readout', 'asked for').partition(', x ')[0]}, {counted}"  # without an earlier count
        return readout._replace(scale=shares.readout * readout.scale), plan._replace(why={**plan.why, "readout": why})

    def _best(self, outputs: Tensor, cases: Cases) -> Shares:
        return best_shares(outputs, cases, classifies=self.classifies, alone=self.alone)


def best_shares(outputs: Tensor, cases: Cases, *, classifies: bool, alone: bool = False) -> Shares:
    """Return the shares of the offsets of cases, and of what layers add to them, whose sum has the least error.

    Errors are squared, for classes those of probabilities (Brier score): log loss depends too much on single cases.
    Layers that correct no classes or tags count for nothing: they would only make probabilities more certain. Two
    models that were fitted alone are weighted by each other's error, as for independent errors.
    """
    if cases.targets is None or cases.offsets is None:
        return Shares(1.0, 1.0)
    weights, targets, offsets = torch.from_numpy(cases.weights), cases.targets, torch.from_numpy(cases.offsets).double()
    expected = targets.cpu().double() if targets.is_floating_point() else F.one_hot(targets.cpu(), offsets.shape[1])

    def error(outputs: Tensor) -> float:
        if classifies:
            outputs = torch.sigmoid(outputs) if targets.is_floating_point() else torch.softmax(outputs, 1)
        return float(weights @ (outputs - expected).square().sum(1))

    def mistakes(outputs: Tensor) -> float:
        predicted = outputs > 0.0 if targets.is_floating_point() else F.one_hot(outputs.argmax(1), outputs.shape[1])
        return float(weights @ (predicted != expected).double().sum(1))

    if alone:
        of_layers, of_readout = error(outputs), error(offsets)
        total = of_layers + of_readout or 1.0
        return Shares(of_layers / total, of_readout / total)
    sums = {share: torch.lerp(offsets, outputs.double(), share) for share in SHARES}
    best = min(SHARES, key=lambda share: error(sums[share]))
    return Shares(1.0, best if not classifies or mistakes(sums[best]) < mistakes(offsets) else 0.0)


def number_folds(data: LabelledCases) -> NDArray[np.intp] | None:
    """Number the fold of each case, (n,), whole groups and equal cases in one; None if there are too few.

    It follows from what is in the cases, whatever their order.
    """
    names = np.array([digest.hex() for digest in data.found.digests] if data.groups is None else data.groups, dtype=str)
    classes = data.targets if data.groups is None and data.targets.dtype.kind in "iu" else np.zeros(len(names), np.intp)
    members = [np.flatnonzero(classes == label) for label in np.unique(classes)]
    n_folds = min(N_FOLDS, *(len(np.unique(names[rows])) for rows in members))
    if n_folds < 2:
        return None
    folds = np.empty(len(names), np.intp)
    for rows in members:
        folds[rows] = np.unique(names[rows], return_inverse=True)[1] % n_folds
    return folds
