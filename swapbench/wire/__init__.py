"""What parent and worker tell each other, and the columns and meanings of what is kept of it."""

# Other releases are asked for it by this name, before anything else is asked of them.
from swapbench.wire.plan import WIRE_VERSION

__all__ = ["WIRE_VERSION"]
