"""Recognise nine speakers from one vowel: an S4 classifier on series of unequal length.

Data: Japanese Vowels (Kudo et al., 1999): nine men say /ae/; 12 cepstral coefficients, 7 to 29 frames of 6.4 ms per
series. Set S4SIGNAL_DATA to the folder that contains japanese_vowels/.

Protocol: the split of the archive, 270 training and 370 test series. The speakers are the classes, so they are on both
sides of the split. All settings are defaults; series are neither cut nor stretched. Everything (standardisation, the
epoch to stop at) is fitted on training series only. The baseline is logistic regression on mean and standard deviation
of each coefficient.

Command::

    python pipelines/japanese_vowels.py
    python pipelines/japanese_vowels.py --seeds 0 1 2     # mean ± standard deviation over seeds

Output: a table of test accuracies.
"""

import argparse
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from s4signal import S4Classifier, Signals
from s4signal.errors import S4SignalError
from s4signal.signals import datasets

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> None:
    """Fit one classifier per seed and score it on the test series."""
    parser = argparse.ArgumentParser(description="Japanese vowels: nine speakers, series of unequal length.")
    parser.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0], help="random states, one fit each")
    parser.add_argument("--max-epochs", type=int, help="maximum number of epochs")
    args = parser.parse_args(argv)
    try:
        X_train, y_train = datasets.load_japanese_vowels("train")
        X_test, y_test = datasets.load_japanese_vowels("test")
    except S4SignalError as error:
        parser.error(str(error))
    print(f"Japanese vowels, {len(np.unique(y_train))} speakers, seeds {args.seeds}")
    print(f"train  {X_train}\ntest   {X_test}\n", flush=True)

    baseline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(moments(X_train), y_train)
    models = [classifier(seed, args.max_epochs).fit(X_train, y_train) for seed in args.seeds]
    scores = [model.score(X_test, y_test) for model in models]
    spread = f" ± {np.std(scores, ddof=1):.3f}" if len(scores) > 1 else ""
    print(f"{'test accuracy':28}{len(y_test)} series")
    print(f"{'moments + logistic':28}{baseline.score(moments(X_test), y_test):.3f}")
    print(f"{'S4Classifier':28}{np.mean(scores):.3f}{spread}")


def classifier(seed: int, max_epochs: int | None) -> S4Classifier:
    """Return a classifier with default settings."""
    model = S4Classifier(random_state=seed, verbose=1)
    return model if max_epochs is None else model.set_params(max_epochs=max_epochs)


def moments(signals: Signals) -> npt.NDArray[np.float64]:
    """Return mean and standard deviation of every channel: (n, 2 * n_channels)."""
    return np.array([[*signal.data.mean(axis=1), *signal.data.std(axis=1)] for signal in signals])


if __name__ == "__main__":
    main()
