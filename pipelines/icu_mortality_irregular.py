"""Predict death in hospital from 48 hours of intensive care at irregular times, with most values missing.

Data: PhysioNet/Computing in Cardiology Challenge 2012 (Silva et al., 2012), the first 2,000 stays of set A: 36 series,
each at its own times, and 5 descriptors of the patient. Set S4SIGNAL_DATA to the folder that contains physionet2012/.

Protocol: the first 1,500 stays in the order of their RecordID are for training, the last 500 for testing. Both S4
classifiers get the raw stays: times [s] and 41 channels with NaN where nothing was recorded, including errors such as a
pH of 735. The trained one is small, one layer; its size was chosen by cross-validation on the training stays. All other
settings of both are defaults. The ridge classifier itself computes running means of the observations. The baselines use
a few numbers per channel: gradient boosting on the last value; logistic regression and gradient boosting on mean, last
value and count.

Command::

    python pipelines/icu_mortality_irregular.py
    python pipelines/icu_mortality_irregular.py --seeds 0 1 2     # mean ± standard deviation over seeds

Output: a table of the areas under the ROC curve and under the precision-recall curve on the test stays.
"""

import argparse
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from data import load_physionet2012
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from s4signal import S4Classifier, Signals
from s4signal.errors import S4SignalError
from s4signal.estimators import S4RidgeClassifier

__all__ = ["main"]

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
SETTINGS = {"d_model": 32, "n_layers": 1, "d_state": 8}


def main(argv: Sequence[str] | None = None) -> None:
    """Score both classifiers and three baselines on the test stays."""
    parser = argparse.ArgumentParser(description="Death in intensive care: S4 classifiers and summary statistics.")
    parser.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0], help="random states, one fit each")
    parser.add_argument("--max-epochs", type=int, help="maximum number of epochs of the trained model")
    args = parser.parse_args(argv)
    try:
        X_train, y_train = load_physionet2012("train")
        X_test, y_test = load_physionet2012("test")
    except S4SignalError as error:
        parser.error(str(error))
    print(f"Challenge 2012, death in hospital: {y_train.sum()} of {len(y_train)} training stays, {y_test.sum()} of "
          f"{len(y_test)} test stays, seeds {args.seeds}")  # fmt: skip
    print(f"train  {X_train}\ntest   {X_test}\n", flush=True)

    last, last_test = (np.array([last_values(signal.data) for signal in X]) for X in (X_train, X_test))
    rich, rich_test = (np.array([statistics(signal.data) for signal in X]) for X in (X_train, X_test))
    boosting = HistGradientBoostingClassifier(random_state=0, max_iter=100, learning_rate=0.05)
    linear = make_pipeline(
        SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression(C=0.01, max_iter=2000)
    )
    rows = {
        "last values + gradient boosting": [boosting.fit(last, y_train).predict_proba(last_test)[:, 1]],
        "statistics + gradient boosting": [boosting.fit(rich, y_train).predict_proba(rich_test)[:, 1]],
        "statistics + logistic regression": [linear.fit(rich, y_train).predict_proba(rich_test)[:, 1]],
        "S4RidgeClassifier, times and values": [
            S4RidgeClassifier(random_state=seed).fit(X_train, y_train).predict_proba(X_test)[:, 1]
            for seed in args.seeds
        ],
        "S4Classifier, times and values": [
            fit_predict(X_train, y_train, X_test, seed, args.max_epochs) for seed in args.seeds
        ],
    }
    print(f"{'test stays':36}{'AUROC':>16}{'AUPRC':>16}")
    for name, predictions in rows.items():
        areas = [[score(y_test, p) for p in predictions] for score in (roc_auc_score, average_precision_score)]
        print(f"{name:36}{summary(areas[0]):>16}{summary(areas[1]):>16}")


def fit_predict(X: Signals, y: Labels, X_test: Signals, seed: int, max_epochs: int | None) -> Floats:
    """Fit a classifier and predict the risk of the test stays."""
    model = S4Classifier(
        **SETTINGS, max_epochs="auto" if max_epochs is None else max_epochs, random_state=seed, verbose=1
    )
    return model.fit(X, y).predict_proba(X_test)[:, 1]


def last_values(data: Floats) -> Floats:
    """Return the last value of each channel, NaN where there is none."""
    return np.array([row[~np.isnan(row)][-1] if (~np.isnan(row)).any() else np.nan for row in data])


def statistics(data: Floats) -> Floats:
    """Return mean, last value and count of each channel."""
    count = (~np.isnan(data)).sum(axis=1)
    mean = np.where(count > 0, np.nansum(data, axis=1) / np.maximum(count, 1), np.nan)
    return np.concatenate([mean, last_values(data), count])


def summary(areas: Sequence[float]) -> str:
    """Return the mean over seeds, with the standard deviation if there are several."""
    return f"{np.mean(areas):.3f}" + (f" ± {np.std(areas, ddof=1):.3f}" if len(areas) > 1 else "")


if __name__ == "__main__":
    main()
