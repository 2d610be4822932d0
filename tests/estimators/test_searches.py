"""Searches: halving by epochs, optuna, and workers that share the cores."""

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from joblib import cpu_count
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - makes the class below
from sklearn.model_selection import HalvingRandomSearchCV, cross_val_score

from s4signal import S4Classifier

__all__: list[str] = []

Y = np.arange(24) % 2


def tones() -> np.ndarray:
    noise = 0.3 * np.random.default_rng(0).standard_normal((24, 2, 100))
    return np.asarray(np.sin(np.arange(100) * (0.2 + 0.3 * Y[:, None]))[:, None] + noise)


def test_a_halving_search_gives_more_epochs_to_what_learns() -> None:
    model = S4Classifier(d_model=4, d_state=4, n_layers=1, random_state=0)
    search = HalvingRandomSearchCV(
        model,
        {"learning_rate": [1e-5, 1e-2, 1e-4]},
        resource="max_epochs",
        min_resources=2,
        max_resources=18,
        n_candidates=3,
        cv=2,
        random_state=0,
    ).fit(tones(), Y)
    assert search.n_resources_ == [2, 6]
    assert search.n_candidates_ == [3, 1]
    assert search.best_estimator_.n_iter_ == search.best_params_["max_epochs"] == 6


def test_optuna_proposes_and_a_model_answers() -> None:
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial: Any) -> float:
        rate = trial.suggest_float("learning_rate", 1e-6, 1e-2, log=True)
        model = S4Classifier(d_model=4, d_state=4, n_layers=1, learning_rate=rate, random_state=0)
        return float(cross_val_score(model.set_params(max_epochs=6), tones(), Y, cv=2).mean())

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    study.enqueue_trial({"learning_rate": 1e-6})
    study.enqueue_trial({"learning_rate": 1e-2})
    study.optimize(objective, n_trials=3)
    assert study.best_value > study.trials[0].value


# As a program of its own: the process of the tests computes on one thread.
WORKERS = """
import numpy as np, torch
from sklearn.model_selection import cross_validate
from s4signal import S4Classifier

def threads(model, X, y):
    return torch.get_num_threads()

X, y = np.random.default_rng(0).standard_normal((24, 2, 64)), np.arange(24) % 2
model = S4Classifier(d_model=4, d_state=4, n_layers=1, max_epochs=1, random_state=0)
if __name__ == "__main__":
    torch.set_num_threads(4)
    print(*cross_validate(model, X, y, cv=2, n_jobs=2, scoring=threads)["test_score"].astype(int))
"""


@pytest.mark.slow
def test_the_threads_of_two_workers_are_no_more_than_the_cores() -> None:
    environ = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    command = [sys.executable, "-W", "ignore", "-c", WORKERS]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    numbers = [int(number) for number in answer.stdout.split()]
    assert len(numbers) == 2
    assert sum(numbers) <= max(2, cpu_count())
