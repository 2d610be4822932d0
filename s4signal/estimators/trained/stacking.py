"""How much layers count beside a readout in closed form: as much as serves cases that neither was fitted on.

Layers learn what the readout leaves over of the classes. Of numbers they learn the numbers themselves: two that err
apart are better in the mean, and what one leaves over is hardest to learn.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from s4signal.estimators.trained.defaults import FEW_CASES
from s4signal.estimators.trained.plan import Plan
from s4signal.estimators.trained.readout import Readout
from s4signal.estimators.trained.training import LabelledCases
from s4signal.nn import S4Network
from s4signal.training import Cases, TrainingOptions, evaluate_network, fit_network

OF_THE_READOUT = (1.0, 0.75, 0.5, 0.25, 0.0)  # where layers add what it says too
OF_THE_LAYERS = (0.0, *2.0 ** np.arange(-5.0, 1.0))  # which are surer than they are right of few cases
N_FOLDS = 5  # at most


class Shares(NamedTuple):
    """How much a readout and layers count in their sum."""

    readout: float
    layers: float


Loss = Callable[[Tensor, Tensor], Tensor]


def choose_shares(
    plan: Plan,
    network: S4Network,
    cases: Cases,
    data: LabelledCases | None,
    *,
    loss: Loss,
    classifies: bool,
    alone: bool,
    options: TrainingOptions,
) -> Shares | None:
    """Return the best shares for the cases of each fold of layers that are trained on the others.

    Of many cases one fold is enough. None without ``data``, or where there are too few.
    """
    folds = number_folds(data) if data is not None and plan.readout == "closed_form" else None
    if folds is None:
        return None
    options, learned = replace(options, checkpoint_dir=None), of_layers(cases, alone=alone)
    left_out, outputs = [], []
    for fold in np.unique(folds)[: None if len(cases) < FEW_CASES else 1]:
        others, own = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        trained = fit_network(copy.deepcopy(network), learned.take(others), loss=loss, options=options).network
        outputs.append(evaluate_network(trained, learned.take(own), options=options))
        left_out.append(own)
    return best_shares(torch.cat(outputs), cases.take(np.concatenate(left_out)), classifies=classifies, alone=alone)


def settle_shares(
    fitted: tuple[Readout | None, Plan, S4Network],
    shares: Shares | None,
    validation: Cases | None,
    *,
    classifies: bool,
    alone: bool,
    options: TrainingOptions,
) -> tuple[Readout | None, Plan]:
    """Let trained layers and the readout beside them count for their shares, by default those of validation cases."""
    readout, plan, network = fitted
    if readout is not None and shares is None and validation is not None:
        outputs = evaluate_network(network, of_layers(validation, alone=alone), options=options)
        shares = best_shares(outputs, validation, classifies=classifies, alone=alone)
    elif shares is None and alone:
        shares = Shares(0.5, 0.5)
    if readout is None or shares is None:
        return readout, plan
    with torch.no_grad():
        for tensor in (*network.head.parameters(), *([] if network.summary is None else network.summary.parameters())):
            tensor.mul_(shares.layers)
    counted = f"x {shares.readout:.2g} and layers x {shares.layers:.2g} by cases left out"
    why = f"{plan.why.get('readout', 'asked for').partition(', x ')[0]}, {counted}"  # without an earlier count
    return readout._replace(scale=shares.readout * readout.scale), plan._replace(why={**plan.why, "readout": why})


def of_layers(cases: Cases | None, *, alone: bool) -> Any:
    """Return the cases as layers learn them: without what the readout says, or with it."""
    return replace(cases, offsets=None) if alone and cases is not None else cases


def best_shares(outputs: Tensor, cases: Cases, *, classifies: bool, alone: bool = False) -> Shares:
    """Return the shares of the offsets of cases, and of what layers add to them, whose sum errs least.

    By squared errors, of probabilities (Brier's score): the logarithm of one that is off decides too much. Of two that
    were fitted alone each counts by the other's error, as for errors that are independent.
    """
    if cases.targets is None or cases.offsets is None:
        return Shares(1.0, 1.0)
    weights, targets, offsets = torch.from_numpy(cases.weights), cases.targets, torch.from_numpy(cases.offsets).double()
    added = outputs - offsets
    wanted = targets.cpu().double() if targets.is_floating_point() else F.one_hot(targets.cpu(), offsets.shape[1])
    if alone:
        errors = [float(weights @ (said - wanted).square().sum(1)) for said in (outputs, offsets)]
        total = sum(errors) or 1.0
        return Shares(errors[0] / total, errors[1] / total)

    def cost(shares: Shares) -> float:
        said = shares.readout * offsets + shares.layers * added
        if classifies:
            said = torch.sigmoid(said) if targets.is_floating_point() else torch.softmax(said, 1)
        return float(weights @ (said - wanted).square().sum(1))

    return min((Shares(*pair) for pair in product(OF_THE_READOUT, OF_THE_LAYERS)), key=cost)


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
