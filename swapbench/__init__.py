"""swapbench: how long a machine takes to unload one LLM and serve another, phase by phase."""

__version__ = "0.1.0"
