"""Trainings for one or several processes; run as a script by each process of a torchrun job.

The job writes the result of each training into a folder; `test_distributed.py` compares them.
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import torch
from small_training import loss, make_network, options_for, tones
from torch import nn

from s4signal import S4Classifier
from s4signal.errors import CheckpointError, DistributedError
from s4signal.training import Cases, Samples, fit_network, is_first
from s4signal.training.options import call_network

__all__ = ["TRAININGS", "train"]


class Partly(nn.Module):
    """A network with a parameter that some cases use, one that all use, and one that none uses."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.every, self.long, self.never = (nn.Linear(2, 2).double() for _ in range(3))
        self.register_buffer("seen", torch.zeros((), dtype=torch.float64))

    def forward(self, x, mask=None, *, rate=1.0, generator=None):
        total = 0.1 * x.sum(-1).t()
        lengths = torch.full((x.shape[1],), x.shape[-1]) if mask is None else mask.sum(-1)
        self.seen += 1.0
        outputs, long = self.every(total), lengths > 50
        return outputs + self.long(total) * long[:, None] if long.any() else outputs


def scaled(cases):
    """Scale each case by a random factor at each load in training."""
    return Cases(**{**vars(cases), "augment": lambda i, chance: Samples(cases.load(i).data * (0.5 + chance))})


def gappy(cases):
    """Give every third case gaps, so that a step has several passes, and their number differs between processes."""

    def load(i):
        data = cases.load(i).data
        return Samples(data, np.random.default_rng(i).uniform(0.5, 2.0, data.shape[1])) if i % 3 == 0 else Samples(data)

    return Cases(**{**vars(cases), "load": load})


WEIGHTS = np.random.default_rng(5).uniform(0.2, 2.0, 13)
# 13 cases in steps of 4: the last step has a single case, and none for the second process.
TRAININGS = {
    "uneven": {"cases": lambda: tones(13, weights=WEIGHTS), "batch_size": 4, "max_epochs": 4},
    "averaged": {"cases": lambda: tones(13), "batch_size": 4, "averaging": 0.8, "max_epochs": 3},
    "validated": {
        "cases": lambda: tones(13),
        "batch_size": 4,
        "validation": lambda: tones(7, seed=1, weights=WEIGHTS[:7]),
        "max_epochs": 30,
        "n_iter_no_change": 2,
        "learning_rate": 0.1,
    },
    "one validation case": {"cases": lambda: tones(6), "batch_size": 4, "validation": lambda: tones(1, seed=1)},
    "all in one step": {"cases": lambda: tones(13), "batch_size": None, "dropout": 0.4, "max_epochs": 4},
    "small pieces": {"cases": lambda: tones(13), "batch_size": 6, "max_samples": 130},
    "augmented": {"cases": lambda: scaled(tones(13)), "batch_size": 4, "max_epochs": 4},
    "gaps": {"cases": lambda: gappy(tones(13)), "batch_size": 5},
    "other weights": {
        "cases": lambda: tones(13),
        "batch_size": 4,
        "network": lambda: make_network(seed=int(os.environ.get("RANK", "0"))),
    },
    "partly used": {"cases": lambda: tones(13), "batch_size": 2, "network": Partly, "max_epochs": 4},
}


def train(name, **changes):
    """Run one of the trainings."""
    given = {**TRAININGS[name], **changes}
    cases, validation, dropout = given.pop("cases")(), given.pop("validation", None), given.pop("dropout", 0.0)
    network = given.pop("network", lambda: make_network(dropout=dropout))()
    return fit_network(
        network,
        cases,
        loss=loss,
        options=options_for(network, **given),
        validation=None if validation is None else validation(),
        score=lambda outputs, targets, weights: float((outputs.argmax(1) == targets).double().mean()),
    )


def numbers(result):
    """Return weights and history without seconds, for a file."""
    weights = {name: x.tolist() for name, x in result.network.state_dict().items()}
    return {"weights": weights, "history": result.history, "best_epoch": result.best_epoch}


def outcome(work):
    """Return the error of a function and the seconds until it, or None."""
    started = time.monotonic()
    try:
        work()
    except (DistributedError, CheckpointError, ValueError) as error:
        return {"error": f"{type(error).__name__}: {error}", "seconds": time.monotonic() - started}
    return {"error": None}


class Counting:
    """A callback that counts its calls."""

    def __init__(self):
        self.calls = 0

    def setup(self, estimator, context):
        self.calls += 1

    def on_fit_task_begin(self, estimator, context):
        self.calls += 1

    def on_fit_task_end(self, estimator, context, **_):
        self.calls += 1
        return False

    def teardown(self, estimator, context):
        self.calls += 1


def fit_estimators(folder):
    """Fit and save; without a shared seed, each process would draw its own."""
    rng, counting = np.random.default_rng(0), Counting()
    X = [rng.standard_normal((3, n)) * (1 + i % 2) for i, n in enumerate(rng.integers(64, 80, 21))]
    y = np.arange(21) % 2
    epochs = S4Classifier(max_epochs=3, checkpoint_dir=folder / "epochs", callbacks=[counting], random_state=0)
    epochs.fit(X, y)
    sound = [0.1 * rng.standard_normal((1, 4000)) * (1 + i % 2) for i in range(6)]
    speech = S4Classifier(sfreq=8000.0, max_epochs=2, batch_size=4, early_stopping=True, validation_fraction=0.4)
    speech.fit(sound, y[:6])
    further = S4Classifier(d_model=4, d_state=4, n_layers=1).partial_fit(X, y).partial_fit(X, y)
    models = {"epochs": epochs, "speech": speech, "further": further}
    for name, model in models.items():
        model.set_params(callbacks=None).save(folder / f"{name}.{os.environ['RANK']}.s4")
    return {"calls": counting.calls, "histories": {name: model.history_ for name, model in models.items()}}


def failing(rank):
    """Return a loss that fails in one process."""

    def raising(outputs, targets):
        if int(os.environ["RANK"]) == rank:
            raise ValueError("the loss of this process fails")
        return loss(outputs, targets)

    return raising


def together(folder):
    """Train everything, and provoke every error."""
    found = {name: numbers(train(name)) for name in TRAININGS}
    found["estimators"] = fit_estimators(folder)
    rank, network = int(os.environ["RANK"]), make_network()
    options = options_for(network, batch_size=4)
    train("uneven", checkpoint_dir=folder / "two", max_epochs=2, schedule=None)
    found["resumed"] = numbers(train("uneven", checkpoint_dir=folder / "one", max_epochs=4, schedule=None))
    found["other cases"] = outcome(lambda: fit_network(network, tones(12 + rank), loss=loss, options=options))
    (folder / "file").write_text("no folder")
    found["no folder"] = outcome(lambda: train("uneven", checkpoint_dir=folder / "file"))
    threaded = []
    thread = threading.Thread(target=lambda: threaded.append(outcome(lambda: train("uneven"))))
    thread.start()
    thread.join()
    found["thread"] = threaded[0]
    found["first"] = is_first()
    seeds = []

    def forward(network, batch, generator):
        seeds.append(generator.initial_seed())
        return call_network(network, batch, generator)

    train("uneven", forward=forward, max_epochs=1)
    found["seed"] = seeds[0]
    found["diverged"] = outcome(lambda: train("uneven", learning_rate=1e30, ssm_learning_rate=1e30, schedule=None))
    found["one fails"] = outcome(lambda: fit_network(network, tones(13), loss=failing(1), options=options))
    os.environ["S4SIGNAL_TIMEOUT_S"] = "2"

    def hang(outputs, targets):
        time.sleep(4.0 * (int(os.environ["RANK"]) == 1))
        return loss(outputs, targets)

    found["one hangs"] = outcome(lambda: fit_network(network, tones(4), loss=hang, options=options))
    return found


def killed(folder):
    """Train with a checkpoint after each epoch; the second process kills itself once, within the third epoch."""
    calls = []

    def deadly(outputs, targets):
        calls.append(1)
        if (os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]) == ("1", "0") and len(calls) == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        return loss(outputs, targets)

    network = make_network(dropout=0.3)
    options = options_for(network, batch_size=4, max_epochs=5, checkpoint_dir=folder / "elastic", schedule=None)
    epochs = []
    cases = tones(12)
    result = fit_network(
        network, cases, loss=deadly, options=options, on_epoch=lambda line, _: epochs.append(line["epoch"])
    )
    uninterrupted = options_for(network, batch_size=4, max_epochs=5, schedule=None)
    expected = fit_network(network, cases, loss=loss, options=uninterrupted)
    return {"result": numbers(result), "expected": numbers(expected), "epochs": epochs}


if __name__ == "__main__":
    torch.set_num_threads(1)
    work, place = {"together": together, "killed": killed}[sys.argv[1]], Path(sys.argv[2])
    (place / f"{sys.argv[1]}.{os.environ['RANK']}.json").write_text(json.dumps(work(place)))
