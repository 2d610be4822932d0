"""The estimators in closed form."""

__all__: list[str] = []
