"""Named feature blocks of checked cases and a ridge regression on them, for both families of estimators."""

__all__: list[str] = []
