"""A recording is aligned while it arrives, by the covariance of its samples so far."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from s4signal.estimators.validation import check_chunk

SMALLEST = 1e-9  # eigenvalue, relative to the largest: below it a direction is empty (a common reference leaves one)
_ROUNDING = 1e-14  # the same: below it there is none, as where a channel is flat
UPDATED = 32  # samples between two updates of a stream
BELIEF = 10  # samples of a stream a channel, after which they count as much as the training recordings

Floats = NDArray[np.float64]


class RunningAlignment:
    """An alignment that listens: each sample is whitened by the covariance of those before it, in bounded memory.

    It begins with the mean covariance of the training recordings, and forgets it as the recording goes on.

    Parameters
    ----------
    covariance : ndarray (n_channels, n_channels)
        What it begins with.
    """

    def __init__(self, covariance: Floats) -> None:
        self._prior = covariance
        self.reset()

    def reset(self) -> None:
        """Forget all samples so far."""
        C = len(self._prior)
        self._n, self._mean, self._scatter = 0, np.zeros(C), np.zeros((C, C))
        self._waiting, self._whitener = np.zeros((C, 0)), inverse_root(self._prior)

    def push(self, chunk: ArrayLike) -> Floats:
        """Take the next samples.

        Parameters
        ----------
        chunk : array-like (n_channels, n_times)
            The next samples, of any number; (n_times,) for one channel.

        Returns
        -------
        ndarray (n_channels, n_times)
            The same samples, aligned; however they are cut into chunks.

        Raises
        ------
        ShapeError
            If the chunk has other channels.
        ValueError, TypeError
            If a sample is NaN or infinite, or no number.
        """
        rest, aligned = check_chunk(chunk, len(self._prior)), []
        while rest.shape[1]:
            piece, rest = np.split(rest, [UPDATED - self._waiting.shape[1]], axis=1)
            aligned.append(self._whitener @ piece)
            self._waiting = np.concatenate([self._waiting, piece], axis=1)
            if self._waiting.shape[1] == UPDATED:
                self._update()
        return np.concatenate([np.zeros((len(self._prior), 0)), *aligned], axis=1)

    def _update(self) -> None:
        """Add the samples that wait to what is known."""
        piece, n, more = self._waiting, self._n, self._waiting.shape[1]
        step, centred = piece.mean(1) - self._mean, piece - piece.mean(1, keepdims=True)
        self._scatter = self._scatter + centred @ centred.T + np.outer(step, step) * n * more / (n + more)
        self._mean, self._n = self._mean + step * more / (n + more), n + more
        belief = BELIEF * len(self._prior)
        self._whitener = inverse_root((belief * self._prior + self._scatter) / (belief + self._n))
        self._waiting = piece[:, :0]


def inverse_root(C: Floats) -> Floats:
    """Return C^(-1/2), empty directions left small, none of what is constant; (n_channels, n_channels)."""
    values, vectors = np.linalg.eigh(C)
    gains = (values > _ROUNDING * values[-1]) / np.sqrt(np.maximum(values, SMALLEST * values[-1]))
    return np.asarray((vectors * gains) @ vectors.T)
