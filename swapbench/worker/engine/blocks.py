"""The block pool: how many requests fit a memory budget, whatever the model."""

from dataclasses import dataclass

from swapbench.worker.engine.geometry import KVGeometry


@dataclass(frozen=True)
class Reservation:
    """Room for one sequence, until it is released."""

    blocks: int


class BlockPool:
    """Counts blocks against `budget_bytes`; one has the bytes of `block_tokens` tokens in all layers.

    Only counters: a list of blocks would be rebuilt with every model, and for small models has a million
    entries. A sequence takes as many as its caches at most hold, be they states of a fixed size, windows, or
    memory that is taken some hundred tokens at a time.
    """

    def __init__(self, budget_bytes: int, block_tokens: int) -> None:
        self._budget_bytes = budget_bytes
        self._block_tokens = block_tokens
        self._geometry = KVGeometry(())
        self._block_bytes = self._capacity_blocks = 0
        self._reserved_blocks = 0

    def reconfigure(self, geometry: KVGeometry) -> None:
        """Fit the same budget to another model.

        Raises:
            RuntimeError: sequences of the old model still hold blocks.
        """
        if self._reserved_blocks:
            raise RuntimeError(f"{self._reserved_blocks} blocks of the old model are still reserved")
        self._geometry = geometry
        # Of a model whose caches never grow, one sequence is one block.
        self._block_bytes = geometry.token_bytes * self._block_tokens or max(1, geometry.bytes_for(1))
        self._capacity_blocks = self._budget_bytes // self._block_bytes

    @property
    def capacity_blocks(self) -> int:
        """Blocks in all."""
        return self._capacity_blocks

    @property
    def capacity_bytes(self) -> int:
        """Bytes of all blocks: within one block of the budget."""
        return self._capacity_blocks * self._block_bytes

    @property
    def free_blocks(self) -> int:
        """Blocks that nobody has reserved."""
        return self._capacity_blocks - self._reserved_blocks

    def blocks_for(self, tokens: int) -> int:
        """Blocks that a sequence of so many tokens takes."""
        return -(-self._geometry.bytes_for(tokens) // self._block_bytes)

    def reserve(self, tokens: int) -> Reservation | None:
        """Room for a sequence, or None when there is none now."""
        blocks = self.blocks_for(tokens)
        if blocks > self.free_blocks:
            return None
        self._reserved_blocks += blocks
        return Reservation(blocks)

    def release(self, reservation: Reservation) -> None:
        """Give a sequence's room back."""
        if reservation.blocks > self._reserved_blocks:
            raise RuntimeError(f"{reservation.blocks} blocks released, {self._reserved_blocks} were reserved")
        self._reserved_blocks -= reservation.blocks
