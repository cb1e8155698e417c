"""How figures are spelt, in sentences and in tables alike."""

from typing import Final

EN_DASH: Final = "\N{EN DASH}"
NOT_RECORDED: Final = EN_DASH

_BYTE_UNITS: Final = ((2**30, "GiB", 2), (2**20, "MiB", 1), (2**10, "KiB", 0))
_SIZE_UNITS: Final = ((1e9, "GB", 2), (1e6, "MB", 1), (1e3, "kB", 0))


def seconds(value: float) -> str:
    """Three digits that count, in seconds: 0.083 s, 3.30 s, 128 s; what is shorter in ms and µs."""
    if abs(value) < 1e-6:
        return "0 s"
    if abs(value) < 1e-5:
        return f"{value * 1e6:.2g} µs"
    if abs(value) < 1e-3:
        return f"{value * 1e3:.2g} ms"
    return f"{_digits(value)} s"


def joules(value: float) -> str:
    """Energy, with three digits that count."""
    return f"{_digits(value)} J"


def watts(value: float) -> str:
    """Power, with three digits that count."""
    return f"{_digits(value)} W"


def table_seconds(value: float) -> str:
    """To the millisecond, for columns of figures that add up."""
    return f"{value:.3f}"


def percent(share: float) -> str:
    """A share as whole per cent; what is small but not nothing stays visible."""
    if 0 < share < 0.005:
        return "< 1 %"
    return f"{share * 100:.0f} %"


def change(share: float) -> str:
    """A change as a share of what it was, with a decimal where it is small: 0.4 %, 12 %."""
    return f"{share * 100:.{0 if abs(share) >= 0.0995 else 1}f} %"


def memory(value: float) -> str:
    """Memory in binary units, as operating systems count it."""
    return _scaled(value, _BYTE_UNITS)


def size(value: float) -> str:
    """Sizes of files and transfers in decimal units, so that size over time is the rate shown."""
    return _scaled(value, _SIZE_UNITS)


def rate(gb_per_s: float) -> str:
    """GB/s with three digits that count."""
    digits = 2 if abs(gb_per_s) < 10 else 1
    return f"{gb_per_s:.{digits}f} GB/s" if abs(gb_per_s) >= 0.1 else f"{gb_per_s * 1e3:.1f} MB/s"


def token_rate(tokens_per_s: float) -> str:
    """Tokens a second, with three digits that count."""
    return f"{tokens_per_s:.{0 if tokens_per_s >= 100 else 1}f} tokens/s"


def factor(value: float) -> str:
    """How many times, with two digits or three that count."""
    return f"{value:.1f}\N{MULTIPLICATION SIGN}" if value < 100 else f"{value:.0f}\N{MULTIPLICATION SIGN}"


def times(value: float) -> str:
    """How many times, with two digits that count near one, where `factor` has one."""
    return f"{value:.2f}\N{MULTIPLICATION SIGN}" if value < 10 else factor(value)


def count(value: float) -> str:
    """A number of things; a median may fall between two."""
    return f"{value:g}"


def counted(n: int, noun: str) -> str:
    """`1 round`, `3 rounds`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _digits(value: float) -> str:
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}"


def _scaled(value: float, units: tuple[tuple[float, str, int], ...]) -> str:
    for factor, unit, digits in units:
        if abs(value) >= factor:
            return f"{value / factor:.{digits}f} {unit}"
    return f"{value:.0f} B"


def ratio_change(ratio: float) -> str:
    """How much more or less, of a ratio: +12.3 %, -4.0 %, -87 %; from twice on, how many times."""
    if ratio >= 2:
        return f"{ratio:.3g}\N{MULTIPLICATION SIGN}"
    return share_change(ratio - 1)


def share_change(share: float) -> str:
    """A share with its sign: +0.4 %, +25 %."""
    text = f"{share * 100:+.{0 if abs(share) >= 0.0995 else 1}f}"
    text = text.removesuffix(".0")
    return "0 %" if text in ("+0", "-0") else f"{text} %"
