"""What every table of an experiment file is made of: strict types, and bounds that a slip can't pass."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Reference = Annotated[str, Field(min_length=1)]
# Strict: pydantic would otherwise take true for 1, and "5" for 5.
Flag = Annotated[bool, Field(strict=True)]
Whole = Annotated[int, Field(strict=True)]
Real = Annotated[float, Field(strict=True, allow_inf_nan=False)]
# The upper bounds keep a slip of the finger from reaching a timer or an allocation.
Seconds = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0, le=1_000_000)]
PositiveSeconds = Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0, le=1_000_000)]
Bytes = Annotated[int, Field(strict=True, ge=0, le=1 << 50)]
Tokens = Annotated[int, Field(strict=True, ge=1, le=1 << 20)]


class Strict(BaseModel):
    """A table of a file that the user writes: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
