"""What turns samples into the steps that the blocks see."""

__all__: list[str] = []
