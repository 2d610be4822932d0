"""The estimators that train a network."""

__all__: list[str] = []
