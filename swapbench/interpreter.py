"""How Python is started for whatever measures or makes."""

from typing import Final

# What an interpreter has installed is measured. Without -P, Python looks into the working directory first:
# in a checkout, every interpreter would run that checkout's code, and any json.py be taken for Python's.
OWN_CODE: Final = ("-P",)
