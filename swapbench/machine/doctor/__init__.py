"""Whether this machine is quiet enough to measure on: facts are gathered, then judged."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = ["Check", "Status"]


Status = Literal["fine", "advice", "unknown"]


class Check(BaseModel):
    """What was found; `advice` says what to do about it, and is empty where all is fine."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    status: Status
    finding: str
    advice: str = ""


def fine(name: str, finding: str) -> Check:
    """Nothing to be done."""
    return Check(name=name, status="fine", finding=finding)


def advise(name: str, finding: str, advice: str) -> Check:
    """Figures are better once the advice is followed."""
    return Check(name=name, status="advice", finding=finding, advice=advice)


def unknown(name: str, finding: str) -> Check:
    """This machine does not tell."""
    return Check(name=name, status="unknown", finding=finding)
