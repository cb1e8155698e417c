"""The one way in which a loader says no."""


class UnfitError(Exception):
    """A loader can't load this checkpoint here; the message is the reason, as a clause."""


class HeldError(UnfitError):
    """Somebody still holds arrays of the model before, whose memory would be overwritten under him."""
