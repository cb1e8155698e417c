"""The run folder under results/: written row by row while a run goes on, read back by reports."""

from swapbench.store.carrier import Carrier
from swapbench.store.document import RESULTS_VERSION, ArmInfo, RunInfo, RunStatus, experiment_in, read_info
from swapbench.store.finding import KEPT, find_runs, list_runs, resolve
from swapbench.store.reading import Run, experiment_of, raw_files, read, read_outline, read_whole
from swapbench.store.resuming import drop_unfinished, finished_swaps
from swapbench.store.tables import damage, read_rows
from swapbench.store.writing import RunWriter, claim_folder, refuse_unwritable

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
