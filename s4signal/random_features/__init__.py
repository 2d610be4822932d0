"""The closed form: frozen random filters, pooled statistics of their outputs, and ridge regression; no scikit-learn."""

__all__: list[str] = []
