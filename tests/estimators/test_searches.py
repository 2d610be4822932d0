"""Parameter searches: halving by epochs, Dask, Ray and optuna; workers share features, checkpoints and cores."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from joblib import cpu_count
from scripts import run_code
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - makes the class below
from sklearn.model_selection import GridSearchCV, HalvingRandomSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from s4signal import S4Classifier
from s4signal.estimators import S4FilterBank

__all__: list[str] = []

Y = np.arange(24) % 2


def tones() -> np.ndarray:
    noise = 0.3 * np.random.default_rng(0).standard_normal((24, 2, 100))
    return np.asarray(np.sin(np.arange(100) * (0.2 + 0.3 * Y[:, None]))[:, None] + noise)


def test_halving_search_gives_more_epochs_to_the_best_candidate() -> None:
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


def compare(here, there):
    """Check that the workers and this process give the same results; print the number of threads of each worker."""
    assert there.best_params_ == here.best_params_
    assert (there.cv_results_["mean_test_s"] == here.cv_results_["mean_test_score"]).all()
    print(*there.cv_results_["mean_test_threads"].astype(int))


# Start workers without a limit of threads; the path lets them unpickle the functions of this module.
UNLIMITED = """
import os, sys
sys.path.insert(0, sys.argv[1])
os.environ.pop("OMP_NUM_THREADS", None)
"""

DASK = """
import dask, joblib, multiprocessing, numpy as np
from dask.distributed import Client, LocalCluster
from distributed.utils import get_mp_context
from sklearn.model_selection import GridSearchCV
from s4signal import S4Classifier
from test_searches import Y, compare, threads, tones

model = S4Classifier(readout="pooled", d_model=4, d_state=4, n_layers=1, max_epochs=2, random_state=0)
grid = {"learning_rate": [1e-5, 1e-2]}
if __name__ == "__main__":
    dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
    get_mp_context().set_forkserver_preload(["distributed", "sklearn.model_selection"])
    here = GridSearchCV(model, grid, cv=2).fit(tones(), Y)
    scoring = {"s": "accuracy", "threads": threads}
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster), joblib.parallel_config("dask"):
        there = GridSearchCV(model, grid, cv=2, scoring=scoring, refit="s").fit(tones(), Y)
    compare(here, there)
"""


@pytest.mark.slow
def test_dask_workers_give_the_results_of_one_process_on_one_thread_each() -> None:
    pytest.importorskip("distributed")
    assert run_code(UNLIMITED + DASK, Path(__file__).parent).split() == ["1", "1"]


RAY = """
import joblib, numpy as np, ray
from ray.util.joblib import register_ray
from sklearn.model_selection import GridSearchCV
from s4signal import S4RidgeClassifier, Signals
from test_searches import Y, compare, threads, tones

X = Signals([case[:, : 100 - i] for i, case in enumerate(tones())], sfreq=100.0)
model, grid, scoring = S4RidgeClassifier(random_state=0), {"n_windows": [1, 4]}, {"s": "accuracy", "threads": threads}
here = GridSearchCV(model, grid, cv=2).fit(X, Y)
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
register_ray()
with joblib.parallel_config("ray", n_jobs=-1):
    there = GridSearchCV(model, grid, cv=2, scoring=scoring, refit="s").fit(X, Y)
compare(here, there)
"""


@pytest.mark.slow
def test_ray_workers_give_the_results_of_one_process_on_one_thread_each() -> None:
    pytest.importorskip("ray")
    assert program(RAY)[-2:] == ["1", "1"]


def test_pipeline_memory_computes_features_once_per_fold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits, fit = [], S4FilterBank.fit

    def counted(bank: S4FilterBank, X: Any, y: Any = None) -> S4FilterBank:
        fits.append(len(X))
        return fit(bank, X, y)

    monkeypatch.setattr(S4FilterBank, "fit", counted)
    bank, grid = S4FilterBank(n_bands=3, sfreq=100.0), {"s4classifier__learning_rate": [1e-5, 1e-2, 1e-3]}
    model = S4Classifier(readout="pooled", d_model=4, d_state=4, n_layers=1, max_epochs=1, random_state=0)
    scores = [
        GridSearchCV(make_pipeline(bank, model, memory=memory), grid, cv=2, refit=False)
        .fit(tones(), Y)
        .cv_results_["mean_test_score"]
        for memory in (str(tmp_path), None)
    ]
    np.testing.assert_array_equal(*scores)
    assert len(fits) == 2 + 6


def test_optuna_improves_on_the_first_trial() -> None:
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial: Any) -> float:
        rate = trial.suggest_float("learning_rate", 1e-6, 1e-2, log=True)
        model = S4Classifier(d_model=4, d_state=4, n_layers=1, readout="pooled", learning_rate=rate, random_state=0)
        return float(cross_val_score(model.set_params(max_epochs=6), tones(), Y, cv=2).mean())

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    study.enqueue_trial({"learning_rate": 1e-6})
    study.enqueue_trial({"learning_rate": 1e-2})
    study.optimize(objective, n_trials=3)
    assert study.best_value > study.trials[0].value


def threads(model: Any, X: Any, y: Any) -> int:
    """Return the number of threads of this process as the score."""
    return torch.get_num_threads()


def program(text: str) -> list[str]:
    """Run a program without the thread limit of the tests and return the words that it prints."""
    environ = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1]), environ.get("PYTHONPATH", "")]
    environ["PYTHONPATH"] = os.pathsep.join(paths)
    command = [sys.executable, "-W", "ignore", "-c", text]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environ).stdout.split()


KILLED = """
import os, signal, sys; sys.path.insert(0, sys.argv[2])
import torch; torch.set_num_threads(1)
from joblib import parallel_config
from sklearn.model_selection import GridSearchCV, cross_val_score
from s4signal import S4Classifier
from s4signal.training.loop import _Training
from test_searches import Y, tones

n_steps, kill_at, step = 0, None, _Training._step
X, Y = tones()[:16, :, :40], Y[:16]

def counted(self, planned):
    global n_steps
    n_steps += 1
    if n_steps == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, planned)

_Training._step = counted

def search(folder=None, n_jobs=None):
    model = S4Classifier(readout="pooled", d_model=4, d_state=4, n_layers=1, max_epochs=2, batch_size=4,
                         standardize=False, checkpoint_dir=folder, random_state=0)
    found = GridSearchCV(model, {"learning_rate": [1e-3, 1e-2]}, cv=2, n_jobs=n_jobs).fit(X, Y)
    folds = cross_val_score(model, X, Y, cv=2, n_jobs=n_jobs)
    scores = [*found.cv_results_["mean_test_score"], *folds]
    return scores, [x.numpy().tobytes() for x in found.best_estimator_.network_.state_dict().values()]

def forked(work):
    if (child := os.fork()) == 0:
        os._exit(0 if work() == expected else 1)
    return child

expected, folder = search(), sys.argv[1]
whole, n_steps, kill_at = n_steps, 0, 11
status = os.waitpid(forked(lambda: search(folder + "/killed")), 0)[1]  # in the third fit of 2 x 2 steps
kill_at = None
again, after = search(folder + "/killed") == expected, n_steps
at_once = [os.waitpid(child, 0)[1] for child in [forked(lambda: search(folder + "/shared")) for _ in range(2)]]
with parallel_config("multiprocessing"):
    jobs = search(folder + "/jobs", n_jobs=2) == expected
print(whole, after, status, again, *at_once, jobs)
"""


def test_killed_search_resumes_and_workers_share_its_checkpoints(tmp_path: Path) -> None:
    whole, after, status, again, one, other, jobs = run_code(KILLED, tmp_path, Path(__file__).parent).split()
    assert (status, again, one, other, jobs) == ("9", "True", "0", "0", "True")
    assert int(after) == int(whole) - 10  # two fits and the first epoch of a third are not run again


WORKERS = """
import torch
from sklearn.model_selection import cross_validate
from s4signal import S4RidgeClassifier
from test_searches import Y, threads, tones

model = S4RidgeClassifier(n_oscillators=8, random_state=0)
if __name__ == "__main__":
    torch.set_num_threads(4)
    print(*cross_validate(model, tones(), Y, cv=2, n_jobs=2, scoring=threads)["test_score"].astype(int))
"""


@pytest.mark.slow
def test_two_workers_use_no_more_threads_than_cores() -> None:
    numbers = [int(number) for number in run_code(UNLIMITED + WORKERS, Path(__file__).parent).split()]
    assert len(numbers) == 2
    assert sum(numbers) <= max(2, cpu_count())
