"""Programs of the system, which macOS keeps elsewhere than Linux."""

import shutil
from typing import Final

FALSE: Final = shutil.which("false") or ""
