"""From checked cases to named blocks of features, and a ridge regression on them: what both wings stand on."""

__all__: list[str] = []
