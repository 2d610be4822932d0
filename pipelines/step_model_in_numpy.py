"""Export a causal model, and follow signals with numpy and onnxruntime alone: no torch, no s4signal.

Data: Japanese Vowels (Kudo et al., 1999): nine men say /ae/; 12 cepstrum coefficients, 7 to 29 frames of 6.4 ms a
series. Set S4SIGNAL_DATA to the folder that holds japanese_vowels/.

Protocol: the split of the archive; a small causal classifier is fitted to the training series and exported as a step
(``view="step"``). `Follower`, which is all that the other machine needs beside the file, then hears each test series
frame by frame. What it says at the end is held against ``predict_proba`` of the whole series. Nothing is chosen on
test series.

Command::

    python pipelines/step_model_in_numpy.py --out step.onnx

Output: accuracy of both, the largest difference of a probability, and the time of a step.
"""

import argparse
import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from s4signal import S4Classifier
from s4signal.errors import S4SignalError
from s4signal.signals import datasets

__all__ = ["Follower", "main"]


class Follower:
    """A model that hears one frame after the other."""

    def __init__(self, path: str) -> None:
        import onnxruntime

        self.session = onnxruntime.InferenceSession(path)
        self.facts = json.loads(self.session.get_modelmeta().custom_metadata_map["s4signal"])
        self.reset()

    def reset(self) -> None:
        """Forget what was heard."""
        self.state = {}
        for part in self.facts["state"]:
            shape = [1 if n == "batch" else n for n in part["shape"]]
            self.state[part["name"]] = np.full(shape, float(part["fill"]), part["dtype"])

    def push(self, frame: Any) -> Any:
        """Hear ``unit`` samples of all channels, (n_channels, unit); return the probabilities of the classes."""
        x = np.asarray(frame, np.float32)[None]
        answer, *after = self.session.run(None, {"x": x, **self.state})
        self.state = dict(zip(self.state, after, strict=True))
        return answer[0]


def main(argv: Sequence[str] | None = None) -> None:
    """Fit, export, and follow the test series."""
    parser = argparse.ArgumentParser(description="A step model, run by numpy and onnxruntime alone.")
    parser.add_argument("--seeds", "--seed", type=int, nargs=1, default=[0], help="random state")
    parser.add_argument("--max-epochs", type=int, default=20, help="epochs of the training")
    parser.add_argument("--out", default="step.onnx", help="the file to write")
    args = parser.parse_args(argv)
    try:
        (X, y), (X_test, y_test) = (datasets.load_japanese_vowels(part) for part in ("train", "test"))
    except S4SignalError as error:
        parser.error(str(error))
    model = S4Classifier(
        d_model=32,
        d_state=16,
        n_layers=2,
        bidirectional=False,
        frontend="linear",
        readout="pooled",
        max_epochs=args.max_epochs,
        random_state=args.seeds[0],
        verbose=1,
    ).fit(X, y)
    model.export(args.out, view="step")
    follower, expected, found = Follower(args.out), model.predict_proba(X_test), []
    started = time.perf_counter()
    for case in X_test:
        follower.reset()
        for t in range(case.length):
            answer = follower.push(case.data[:, t : t + 1])
        found.append(answer)
    step_s = (time.perf_counter() - started) / X_test.lengths.sum()
    classes = np.array(follower.facts["classes"])
    print(f"accuracy of s4signal      {(model.predict(X_test) == y_test).mean():.3f}")
    print(f"accuracy of onnxruntime   {(classes[np.argmax(found, 1)] == y_test).mean():.3f}")
    print(f"largest difference        {np.abs(np.array(found) - expected).max():.1e}")
    print(f"a step                    {1e6 * step_s:.0f} microseconds, one signal")


if __name__ == "__main__":
    main()
