"""An exception that is kept keeps its frames, and in these frames lie models of many gigabytes."""


def let_go(error: BaseException) -> None:
    """Drop the tracebacks of an exception and of those that led to it; what they say stays."""
    pending, seen = [error], {id(error)}
    while pending:
        current = pending.pop()
        current.__traceback__ = None
        for earlier in (current.__cause__, current.__context__):
            if earlier is not None and id(earlier) not in seen:
                seen.add(id(earlier))
                pending.append(earlier)
