"""From a run's tables to findings: pure functions, no files, no terminal."""

from swapbench.findings.findings import Findings, Problem, analyse, exit_code

__all__ = ["Findings", "Problem", "analyse", "exit_code"]
