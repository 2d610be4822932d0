"""Steps before a model, in pipelines of scikit-learn: recordings in, `Signals` out."""

__all__: list[str] = []
