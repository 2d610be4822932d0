"""Names of files that say what they hold: ``{subject}_{session}.edf``."""

import re


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Turn fields in braces, or a regular expression with named groups, into an expression."""
    expression = pattern
    if "(?P<" not in pattern:
        parts = re.split(r"\{(\w+)\}", pattern)
        names = parts[1::2]
        fields = [f"(?P<{name}>[^/]+?)" if name not in names[:i] else f"(?P={name})" for i, name in enumerate(names)]
        expression = "".join(re.escape(part) if i % 2 == 0 else fields[i // 2] for i, part in enumerate(parts))
    try:
        return re.compile(expression)
    except re.error as error:
        raise ValueError(f"pattern={pattern!r} is no regular expression: {error}.") from None
