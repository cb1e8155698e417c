"""The run folder under results/: written row by row while a run goes on, read back by reports."""

from swapbench.store.document import (
    RESULTS_VERSION,
    ArmInfo,
    Carrier,
    RunInfo,
    RunStatus,
    experiment_in,
    read_info,
)
from swapbench.store.reading import (
    KEPT,
    Run,
    experiment_of,
    find_runs,
    list_runs,
    raw_files,
    read,
    read_outline,
    read_whole,
    resolve,
)
from swapbench.store.tables import damage, read_rows
from swapbench.store.writing import (
    RunWriter,
    claim_folder,
    drop_unfinished,
    finished_swaps,
    refuse_unwritable,
)

__all__ = [
    "KEPT",
    "RESULTS_VERSION",
    "ArmInfo",
    "Carrier",
    "Run",
    "RunInfo",
    "RunStatus",
    "RunWriter",
    "claim_folder",
    "damage",
    "drop_unfinished",
    "experiment_in",
    "experiment_of",
    "find_runs",
    "finished_swaps",
    "list_runs",
    "raw_files",
    "read",
    "read_info",
    "read_outline",
    "read_rows",
    "read_whole",
    "refuse_unwritable",
    "resolve",
]
