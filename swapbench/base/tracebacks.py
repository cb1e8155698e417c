"""What is kept of an exception: what it says, and never its frames, in which lie models of many gigabytes."""


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


def sentence(error: BaseException) -> str:
    """One line of at most 600 characters: some libraries list a thousand tensors in one message.

    Its beginning and its end: a log has the cause there.
    """
    said = f"sys.exit({error.code})" if isinstance(error, SystemExit) else str(error)
    text = " ".join(said.split()) or type(error).__name__
    return text if len(text) <= 600 else f"{text[:297]} ... {text[-298:]}"
