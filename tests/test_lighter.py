"""What tests keep of transformers is what it would find out itself."""

import os
import subprocess
import sys

ASK = """
from pathlib import Path
import transformers
from transformers.utils.import_utils import define_import_structure
models = Path(transformers.__file__).parent / "models"
for prefix in (None, "models"):
    found = define_import_structure(models, prefix)
    print(sorted((sorted(k), sorted((m, sorted(names)) for m, names in v.items())) for k, v in found.items()))
    print(define_import_structure.__module__)
"""


def structure(environment: dict[str, str]) -> list[str]:
    command = [sys.executable, "-c", ASK]
    return subprocess.check_output(command, env=environment, text=True).splitlines()


def test_kept_and_found_out_are_the_same() -> None:
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found, kept = structure(bare), structure(dict(os.environ))
    assert found[::2] == kept[::2]
    assert (found[1], kept[1]) == ("transformers.utils.import_utils", "sitecustomize")
