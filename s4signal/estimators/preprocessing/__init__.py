"""Preprocessing steps for scikit-learn pipelines: recordings in, `Signals` out."""

__all__: list[str] = []
