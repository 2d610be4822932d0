"""Prediction in other processes and threads: forked, spawned, of joblib, of a service that forks workers."""

import multiprocessing as mp
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from joblib import Parallel, delayed
from scripts import run_code, run_script
from sklearn.model_selection import cross_val_score
from small_models import classifier, waves

from s4signal import S4RidgeClassifier

__all__: list[str] = []

X, Y = waves(40, n_times=400)
MAKERS = {"trained": classifier, "closed form": lambda: S4RidgeClassifier(n_oscillators=16, random_state=0)}
each_model = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)

# A service loads a model and forks workers, which predict. It is a separate program: the tests run on one thread.
SERVICE = """
import os, sys
import numpy as np, torch
from s4signal import S4Classifier, S4RidgeClassifier

torch.set_num_threads(2)
torch.ones(10**6).exp()
assert not os.path.exists("/proc/self/task") or len(os.listdir("/proc/self/task")) > 1  # there is another thread
X = np.random.default_rng(0).standard_normal((40, 4, 2000))
for kind in (S4Classifier, S4RidgeClassifier):
    model = kind.load(sys.argv[1 if kind is S4Classifier else 2])
    expected = model.predict_proba(X)
    for work in (lambda: model.predict_proba(X), lambda: model.fit(X[:20], np.arange(20) % 2).predict_proba(X)):
        ours, theirs = os.pipe()
        if (child := os.fork()) == 0:
            probabilities = work()
            os.write(theirs, b"same" if np.allclose(probabilities, expected, atol=1e-5) else b"fitted")
            os._exit(0)
        os.close(theirs)
        print(os.read(ours, 9).decode(), os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_forked_workers_predict_after_the_parent_used_two_threads(tmp_path):
    wide = np.random.default_rng(0).standard_normal((40, 4, 2000))
    classifier().fit(wide, Y).save(tmp_path / "trained")
    S4RidgeClassifier(n_oscillators=16, random_state=0).fit(wide, Y).save(tmp_path / "closed")
    lines = run_code(SERVICE, tmp_path / "trained", tmp_path / "closed").split("\n")
    assert [lines[0], lines[2]] == ["same 0"] * 2
    assert all(line.endswith(" 0") for line in (lines[1], lines[3]))


def probabilities(model):
    return model.predict_proba(X)


WORKER = """
import multiprocessing as mp, sys
import numpy as np
from s4signal import S4Classifier, S4RidgeClassifier

def work(folder):
    X = np.load(folder + "/X.npy")
    for name, kind in {"trained": S4Classifier, "closed form": S4RidgeClassifier}.items():
        np.save(folder + f"/{name}.npy", kind.load(folder + f"/{name}.s4").predict_proba(X))
    assert "torch._dynamo" not in sys.modules  # the compiler, which takes seconds to import

if __name__ == "__main__":
    process = mp.get_context(sys.argv[1]).Process(target=work, args=(sys.argv[2],))
    process.start()
    process.join()
    sys.exit(process.exitcode)
"""


@pytest.mark.parametrize("start", ["spawn", pytest.param("forkserver", marks=pytest.mark.slow)])
def test_new_process_gives_bit_identical_predictions(start, tmp_path):
    if start not in mp.get_all_start_methods():
        pytest.skip(f"no {start} on this system")
    models = {name: make().fit(X, Y) for name, make in MAKERS.items()}
    for name, model in models.items():
        model.save(tmp_path / f"{name}.s4")
    np.save(tmp_path / "X.npy", X)
    (tmp_path / "service.py").write_text(WORKER)
    process = run_script(tmp_path / "service.py", start, str(tmp_path))
    assert process.returncode == 0, process.stderr
    for name, model in models.items():
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy"), model.predict_proba(X))


@each_model
def test_joblib_processes_give_the_same_predictions_and_scores(make):
    model = make().fit(X, Y)
    outputs = Parallel(n_jobs=2)(delayed(probabilities)(model) for _ in range(2))
    for found in outputs:
        np.testing.assert_array_equal(found, model.predict_proba(X))
    here = cross_val_score(make(), X, Y, cv=2)
    np.testing.assert_array_equal(cross_val_score(make(), X, Y, cv=2, n_jobs=2), here)


@each_model
def test_threads_predict_correctly_while_another_model_is_fitted(make):
    model, other = make().fit(X, Y), make()
    expected = model.predict_proba(X)
    with ThreadPoolExecutor(9) as pool:
        fitting = pool.submit(other.fit, X, Y)
        for found in pool.map(model.predict_proba, [X] * 16):
            np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(fitting.result().predict_proba(X), expected)
