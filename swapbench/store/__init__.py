"""The run folder under results/: written row by row while a run goes on, read back by reports."""

from swapbench.store.runs import KEPT as KEPT
from swapbench.store.runs import RESULTS_VERSION as RESULTS_VERSION
from swapbench.store.runs import ArmInfo as ArmInfo
from swapbench.store.runs import Carrier as Carrier
from swapbench.store.runs import Run as Run
from swapbench.store.runs import RunInfo as RunInfo
from swapbench.store.runs import RunStatus as RunStatus
from swapbench.store.runs import damage as damage
from swapbench.store.runs import experiment_in as experiment_in
from swapbench.store.runs import experiment_of as experiment_of
from swapbench.store.runs import find_runs as find_runs
from swapbench.store.runs import list_runs as list_runs
from swapbench.store.runs import raw_files as raw_files
from swapbench.store.runs import read as read
from swapbench.store.runs import read_info as read_info
from swapbench.store.runs import read_outline as read_outline
from swapbench.store.runs import read_whole as read_whole
from swapbench.store.runs import resolve as resolve
from swapbench.store.writing import RunWriter as RunWriter
from swapbench.store.writing import claim_folder as claim_folder
from swapbench.store.writing import drop_unfinished as drop_unfinished
from swapbench.store.writing import finished_swaps as finished_swaps
from swapbench.store.writing import refuse_unwritable as refuse_unwritable
