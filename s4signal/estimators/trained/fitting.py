"""The steps of a fit, on a draft of the estimator: the estimator changes only when the fit is complete."""

import copy
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.callback import CallbackSupportMixin
from torch import Tensor, nn

from s4signal.estimators.augmentation import sample_changes
from s4signal.estimators.base import SignalEstimator
from s4signal.estimators.leakage import Spans, check_groups, spans_of, warn_of_shared
from s4signal.estimators.standardizer import Standardizer, warn_of_differences, warn_of_survey
from s4signal.estimators.survey import check_time_unit, survey
from s4signal.estimators.trained.callbacks import end_task, own_callbacks
from s4signal.estimators.trained.defaults import LIGHTEST, Defaults, LabelledCases, choose_defaults, trains_to_the_end
from s4signal.estimators.trained.inference import Forward, InferenceCopies, inference_options, on_host, score_cases
from s4signal.estimators.trained.missing import check_times, make_cases, training_rate
from s4signal.estimators.trained.plan import Plan, build_network, plan_network, plan_schedule
from s4signal.estimators.trained.precompute import prepare_training
from s4signal.estimators.trained.readout import OffsetsWithout, Readout, Stacking, fit_readout, in_memory
from s4signal.estimators.trained.splitting import Split, split_cases
from s4signal.estimators.trained.training import (
    built_from,
    check_unchanged,
    draw_seed,
    fingerprint_of,
    prepare,
    training_options,
)
from s4signal.estimators.validation import check_observed, check_rate, check_signals, check_weights
from s4signal.nn import S4Network
from s4signal.nn.randomness import draws_from
from s4signal.signals import Signal, Signals
from s4signal.signals.clock import without_regular_times
from s4signal.training import PRECISIONS, Cases, TrainingOptions, TrainingResult, fit_network, is_first, resolve_device


class NetworkFitting(CallbackSupportMixin, SignalEstimator):
    """Fit of a network to signals, and its outputs.

    A subclass defines its targets: by a mixin, and by ``_n_outputs``, ``_loss`` and ``_score_outputs``.
    """

    _stratified: ClassVar[bool] = False
    sfreq_: float | None
    n_iter_: int
    history_: list[dict[str, Any]]
    network_: S4Network
    _plan: Plan
    _standardizer: Standardizer
    _optimizer_state: dict[str, Any]
    _copies: InferenceCopies
    _readout: Readout | None
    _built: dict[str, Any]
    _trained_on: Spans

    def _learn(self, *data: Any, **more: Any) -> Self:
        """Fit, or leave the estimator as it was."""
        with self._drafted() as draft:
            draft._fit(*data, **more, owner=self)
        return self

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, *, times: Any, groups: Any, X_val: Any, y_val: Any, owner: Any
    ) -> None:
        """Fit; ``owner`` is the estimator that this draft belongs to, for callbacks."""
        device, warm = prepare(self), self.warm_start and hasattr(self, "network_")
        data = self._training_data(X, y, sample_weight, times, groups=groups, reset=not warm)
        timed = self._plan.sampling.times if warm else bool(data.found.has_times.any())
        held_out = self._validation_data(X_val, y_val, timed=timed)
        if held_out is not None:
            warn_of_shared(held_out.signals, self._trained_on)
        seed = draw_seed(self, device)
        why, defaults = "the epoch is chosen on X_val", choose_defaults(data, self.sfreq_)
        if held_out is None:
            split = self._split(data, seed, defaults)
            held_out = None if split.held_out is None else data.take(split.held_out)
            data, why = data.take(split.train), split.why
        if warm:
            self._continue(data)
        else:
            self._initialise(data, seed, defaults)
        self.network_ = self.network_.to(device, PRECISIONS[self.precision])
        if held_out is not None and X_val is not None:
            warn_of_survey(self._standardizer, held_out.found, self.ch_names_)
        cases, offsets_without = self._prepare(data, seed, device, first=not warm, refit=True)
        validation = None if held_out is None else self._prepare(held_out, seed, device, trains=False)[0]
        schedule = plan_schedule(self, self._plan, len(data.signals), defaults)
        self._plan = self._plan._replace(why={**self._plan.why, "schedule": schedule.text, "validation": why})
        options = training_options(self, self._plan, schedule, self.network_, seed=seed, device=device)
        self._train(cases, validation, options, offsets_without, parts=(data, held_out), given=(X, y), owner=owner)

    def _fit_on(self, X: Any, y: Any, sample_weight: Any, *, classes: Any) -> None:
        """Fit for one more epoch."""
        device, first = prepare(self), not hasattr(self, "network_")
        data = self._training_data(X, y, sample_weight, None, classes=classes, reset=first)
        seed = draw_seed(self, device) + getattr(self, "n_iter_", 0)
        defaults = choose_defaults(data, self.sfreq_, in_batches=True)
        if first:
            self._initialise(data, seed, defaults)
        else:
            self._continue(data)
        schedule = plan_schedule(self, self._plan, len(data.signals), defaults)._replace(max_epochs=1, averaging=0.0)
        self._plan = self._plan._replace(why={**self._plan.why, "schedule": "one epoch per partial_fit"})
        self.network_ = self.network_.to(device, PRECISIONS[self.precision])
        cases, _ = self._prepare(data, seed, device, first=first, refit=first)
        options = training_options(self, self._plan, schedule, self.network_, seed=seed, device=device)
        options, moments = replace(options, schedule=None), getattr(self, "_optimizer_state", None)
        result = fit_network(self.network_, cases, loss=self._loss, options=options, optimizer_state=moments)
        self.network_, self._optimizer_state = on_host(result)
        self.n_iter_ = self.best_epoch_ = 1 if first else self.n_iter_ + 1
        self.history_ = [*([] if first else self.history_), {**result.history[0], "epoch": self.n_iter_}]

    def _training_data(
        self, X: Any, y: Any, sample_weight: Any, times: Any, *, reset: bool, groups: Any = None, classes: Any = None
    ) -> LabelledCases:
        """Check the cases and read each once; return those of positive weight."""
        signals = check_signals(self, X, sfreq=self.sfreq, times=times, reset=reset)
        if reset:
            signals = Signals.from_cases(without_regular_times(signals.cases))
        else:
            signals = check_times(signals, self.sfreq_, timed=self._plan.sampling.times, read=False)
        targets = self._encode_targets(y, signals, classes=classes, reset=reset)
        weights = check_weights(sample_weight, signals, class_weights=self._case_weights(targets))
        hashed = self.checkpoint_dir is not None or (self.readout if reset else self._plan.readout) != "pooled"
        found = survey(signals, refuse_missing=self.missing == "error", hashed=hashed)
        if reset:
            self.sfreq_ = training_rate(found)
        else:
            check_time_unit(signals, self.sfreq_, found=found)
        weights = weights / weights.max()  # only ratios count
        data = LabelledCases(signals, found, weights, targets, check_groups(groups, signals))
        data = data.take(np.flatnonzero(weights > LIGHTEST))
        self._copies = InferenceCopies()  # created here, so that predict adds no attribute
        self._trained_on = spans_of(data.signals, {} if reset else self._trained_on)
        return data

    def _validation_data(self, X: Any, y: Any, *, timed: bool) -> LabelledCases | None:
        if X is None and y is None:
            return None
        if X is None or y is None:
            raise ValueError("X_val and y_val belong together; pass both or none.")
        # Validation cases may have a sampling rate of their own.
        sfreq = None if isinstance(X, Signals) and not np.isnan(X.sfreqs).any() else self.sfreq
        signals = check_times(check_signals(self, X, sfreq=sfreq), self.sfreq_, timed=timed, read=False)
        targets = self._encode_targets(y, signals, classes=None, reset=False)
        hashed = self.checkpoint_dir is not None
        found = survey(signals, refuse_missing=self.missing == "error", hashed=hashed, name="X_val")
        check_time_unit(signals, self.sfreq_, found=found)
        return LabelledCases(signals, found, np.ones(len(signals)), targets)

    def _split(self, data: LabelledCases, seed: int, defaults: Defaults) -> Split:
        """Hold out validation cases as ``early_stopping`` requires."""
        labels = data.targets if self._stratified and data.targets.ndim == 1 else None
        return split_cases(
            labels,
            data.groups,
            n=len(data.signals),
            early_stopping=self.early_stopping,
            fraction=self.validation_fraction,
            seed=seed,
            to_the_end=trains_to_the_end(self.frontend, defaults),
        )

    def _initialise(self, data: LabelledCases, seed: int, defaults: Defaults) -> None:
        """Fit the statistics of channels and targets, and build a network."""
        self._measure_targets(data.targets, data.weights)
        self._standardizer = Standardizer.fit(data.found, data.weights, identity=not self.standardize)
        n_outputs = self._n_outputs(data.targets)
        self._plan = plan_network(self, data, defaults=defaults, n_outputs=n_outputs, sfreq=self.sfreq_)
        self._optimizer_state, self._readout, self._built = {}, None, built_from(self)
        with draws_from(torch.Generator().manual_seed(seed)):
            self.network_ = build_network(self._plan, self.frontend)

    def _continue(self, data: LabelledCases) -> None:
        """Check the network against the parameters and the targets; a copy of it is trained."""
        check_unchanged(self, self._built, self._plan)
        n_outputs = self._n_outputs(data.targets)
        if self._plan.n_outputs != n_outputs:
            raise ValueError(
                f"the network has {self._plan.n_outputs} outputs, y has {n_outputs}; fit with warm_start=False."
            )
        warn_of_survey(self._standardizer, data.found, self.ch_names_)
        self.network_ = copy.deepcopy(self.network_)

    def _prepare(
        self,
        data: LabelledCases,
        seed: int,
        device: torch.device,
        *,
        first: bool = False,
        refit: bool = False,
        trains: bool = True,
    ) -> tuple[Cases, OffsetsWithout | None]:
        """Return cases for the learned part, with the scores of a readout, which is fitted if ``refit``."""
        plan, offsets, without = self._plan, None, None
        if plan.readout == "closed_form":
            data = data._replace(signals=in_memory(data.signals))
            if refit:
                given = data._replace(targets=self._standardised(data.targets))
                self._readout, offsets, without = fit_readout(
                    given, plan, self._standardizer, classifies=self._stratified, precision=self.precision, seed=seed
                )
            elif self._readout is not None:
                offsets = self._readout.scores(data.signals)
        cases = make_cases(
            data.signals,
            self._standardizer,
            sfreq=self.sfreq_,
            sampling=plan.sampling,
            found=data.found,
            weights=data.weights,
            targets=self._target_tensor(data.targets),
            changes=sample_changes(plan.augmentation) if trains else (),
        )
        options = inference_options(self, plan, device)
        prepared = prepare_training(
            self.network_, cases, options, plan, seed, first=first, budget_gb=self.memory_budget_gb
        )
        return replace(prepared, offsets=offsets), without

    def _train(
        self,
        cases: Cases,
        validation: Cases | None,
        options: TrainingOptions,
        offsets_without: OffsetsWithout | None,
        *,
        parts: tuple[LabelledCases, LabelledCases | None],
        given: tuple[Any, Any],
        owner: Any,
    ) -> None:
        """Run the training loop, and call the callbacks of ``owner`` for its epochs."""
        if self.checkpoint_dir is not None:
            fingerprint = fingerprint_of(self, self._plan, self._standardizer, self.network_, options.seed, parts)
            options = replace(options, fingerprint=fingerprint, checkpoint_dir=self.checkpoint_dir)
        alone = not (self._stratified or self.warm_start or self._readout is None)
        stacking = Stacking(self._loss, options, self._stratified, alone)
        shares = None
        if offsets_without is not None and validation is None and not self.warm_start:
            shares = stacking.choose(self.network_, cases, parts[0], offsets_without)
        with own_callbacks(owner, n_epochs=options.max_epochs, silent=not is_first()) as context:

            def on_epoch(line: dict[str, Any], network: nn.Module) -> bool:
                task = context.subcontext(task_name="epoch").call_on_fit_task_begin(estimator=owner)
                return end_task(owner, task, given, learned=vars(self), n_iter=line["epoch"], network=network)

            result = fit_network(
                self.network_,
                stacking.learned(cases),
                loss=self._loss,
                options=options,
                score=self._score_outputs,
                validation=stacking.learned(validation),
                on_epoch=on_epoch if hasattr(owner, "_skl_callbacks") else None,
            )
            if self._readout is not None:
                fitted = self._readout, self._plan, result.network
                self._readout, self._plan = stacking.settle(*fitted, shares, validation)
            self._take(result)
            end_task(owner, context, given, learned=vars(self), n_iter=self.n_iter_, network=self.network_)

    def _take(self, result: TrainingResult[S4Network]) -> None:
        self.network_, self._optimizer_state = on_host(result)
        self.history_, self.n_iter_ = result.history, len(result.history)
        self.best_epoch_, self.fit_seconds_ = result.best_epoch, result.seconds

    def _outputs(
        self, X: Any, sfreq: Any = None, times: Any = None, forward: Forward | None = None, *, warn: bool = True
    ) -> NDArray[np.float64]:
        """Return outputs (n_samples, n_outputs), or the result of ``forward`` on the network; nothing is changed."""
        check_rate(self, sfreq)
        signals = check_signals(self, X, sfreq=sfreq, times=times, warn=warn)
        sampling, standardizer = self._plan.sampling, self._standardizer
        signals = check_times(signals, self.sfreq_, timed=sampling.times)
        stats = np.full((len(signals), signals.n_channels + 1), np.nan)

        def visit(index: int, case: Signal) -> None:
            check_observed(case, index, refuse=sampling.missing == "error")
            stats[index] = standardizer.statistics(case.data) if warn else np.nan

        cases = make_cases(signals, standardizer, sfreq=self.sfreq_, sampling=sampling, visit=visit)
        how = inference_options(self, self._plan, resolve_device(self.device, precision=self.precision))
        outputs = score_cases(self._copies.of(self.network_, how.device, self.precision), cases, how, forward=forward)
        warn_of_differences(standardizer, stats, self.ch_names_)
        return outputs if forward or self._readout is None else outputs + self._readout.scores(signals)

    def _target_tensor(self, targets: NDArray[Any]) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(self._standardised(targets)))
        return tensor.to(PRECISIONS[self.precision]) if tensor.is_floating_point() else tensor
