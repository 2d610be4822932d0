"""The closed form: frozen filters, pooled statistics of what they say, and ridge regression; no scikit-learn."""

__all__: list[str] = []
