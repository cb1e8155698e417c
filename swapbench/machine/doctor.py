"""Whether this machine is quiet enough to measure on: from what was found to what to do about it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from swapbench.machine.environment import Fact
from swapbench.machine.surroundings import Examination, Storage, Surroundings

_GIB = 1 << 30

# Thresholds beyond which figures have been seen to suffer.
_BUSY_SHARE = 0.5
_FREE_MEMORY_SHARE = 0.25
_SWAP_BYTES = _GIB
_LEAST_DISK_BYTES = 10 * 10**9
_PROBE_PHASE_S = 0.005
_SAMPLER_SHARE = 0.05
_TOUCH_RATIO = 2.0

# Of a model's weights: KV caches and what is computed want room, too.
_MODEL_SHARE = 1.1
# What macOS is left with at least, however high the GPU's limit is set.
_SYSTEM_BYTES = 4 * _GIB

# As Linux and macOS call what lies on another machine, or on the host of a virtual one.
_ELSEWHERE = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "afpfs", "webdav", "fuse.sshfs", "9p", "virtiofs", "lustre")
)

# As macOS counts it.
_PRESSURE = ("nominal", "moderate", "heavy", "trapping", "sleeping")

Status = Literal["fine", "advice", "unknown"]


class Check(Fact):
    """What was found; `advice` says what to do about it, and is empty where all is fine."""

    name: str
    status: Status
    finding: str
    advice: str = ""


def unknown(name: str, finding: str) -> Check:
    """This machine does not tell."""
    return Check(name=name, status="unknown", finding=finding)


def _check(name: str, finding: str, advice: str = "", wrong: bool = True) -> Check:
    if advice and wrong:
        return Check(name=name, status="advice", finding=finding, advice=advice)
    return Check(name=name, status="fine", finding=finding)


def judge_surroundings(
    around: Surroundings, models: Mapping[str, int], working_set_bytes: int | None = None
) -> tuple[Check, ...]:
    """What every run looks at before it begins.

    Args:
        models: bytes of weights by name.
        working_set_bytes: Metal's recommendation, which is the GPU's limit where nobody has set one.
    """
    return (
        *_processors_and_memory(around),
        *_power_and_heat(around),
        *_system(around),
        *_wired_limit(around, models, working_set_bytes),
        *_files_and_energy(around),
        *map(_storage, around.storages),
    )


def _processors_and_memory(around: Surroundings) -> Iterator[Check]:
    ours, held_back = around.processors, around.held_back
    found = f"load average {around.load:.1f} on {around.cores} cores"
    if ours.by:
        found += f", of which {ours.count:g} may be used here, limited by {ours.by}"
    busy = around.load > _BUSY_SHARE * around.cores
    # Nobody is named: what a run notes is shown to others.
    yield _check("load", found, "other processes are busy; wait until they are done", busy)
    found = f"this process is {held_back}" if held_back else "not held back"
    advice = "it waits for other processes; start it otherwise, a launchd job with ProcessType Interactive"
    yield _check("priority", found, advice, bool(held_back))
    free, total = around.memory.available, around.memory.total
    found = f"{free.bytes / _GIB:.1f} of {total.bytes / _GIB:.1f} GiB of memory available"
    advice = "raise that limit, or close what you don't need" if free.by else "close what you don't need"
    short = free.bytes < _FREE_MEMORY_SHARE * total.bytes
    yield _check("memory", found + (free.limited or total.limited), advice, short)
    if around.memory_pressure:
        yield _check("memory pressure", around.memory_pressure, "close what you don't need")
    found = f"{around.swap_used_bytes / _GIB:.1f} GiB of swap in use"
    advice = "memory was short before; close what you don't need"
    yield _check("swap", found, advice, around.swap_used_bytes >= _SWAP_BYTES)


def _power_and_heat(around: Surroundings) -> Iterator[Check]:
    if around.on_battery is None:
        yield unknown("power", "no power source reported, as on desktops and virtual machines")
    elif around.on_battery:
        yield _check("power", "not on mains", "the machine may throttle; plug it in")
    else:
        yield _check("power", "on mains")
    if around.low_power_mode:
        yield _check("power mode", "low power mode is on", "turn it off in System Settings, Battery")
    if around.governor == "powersave":
        advice = "set another: cpupower frequency-set -g performance"
        yield _check("power mode", "the CPU's governor is powersave", advice)
    level, warned = around.thermal_pressure, around.thermal_warning
    if level is None:
        yield unknown("thermal pressure", "not reported here")
    else:
        found = _PRESSURE[min(level, len(_PRESSURE) - 1)]
        found += ", and a thermal warning is recorded" if warned else ""
        yield _check("thermal pressure", found, "let the machine cool down", level > 0 or warned)


def _system(around: Surroundings) -> Iterator[Check]:
    machine = around.virtual_machine
    shared = f"{machine}, which shares disk and memory: compare within one run only"
    # Nothing that anyone could do about it before a run.
    yield _check("virtual machine", shared if machine else "none seen")
    if around.reclaims_idle_pages:
        yield _check(
            "idle pages",
            "the kernel takes idle pages back while memory is free (DAMON pageout): warm page caches and "
            "footprints shrink by themselves",
            "as root, echo off > /sys/kernel/mm/damon/admin/kdamonds/0/state",
        )
    if around.huge_pages is not None:
        advice = "first touches of memory are several times slower; as root, echo madvise > "
        advice += "/sys/kernel/mm/transparent_hugepage/enabled"
        yield _check("huge pages", around.huge_pages, advice, around.huge_pages == "never")


def _wired_limit(
    around: Surroundings, models: Mapping[str, int], working_set_bytes: int | None
) -> Iterator[Check]:
    if around.wired_limit_bytes is None:
        return
    limit = around.wired_limit_bytes or working_set_bytes
    whose = "set by iogpu.wired_limit_mb" if around.wired_limit_bytes else "the system's own"
    found = f"{limit / _GIB:.1f} GiB, {whose}" if limit else whose
    most = around.memory.total.bytes - _SYSTEM_BYTES
    wants = ((int(weights * _MODEL_SHARE), name) for name, weights in models.items())
    # For one that has no room in memory no limit helps.
    wanted, name = max((want for want in wants if want[0] <= most), default=(0, ""))
    short = limit is not None and wanted > limit
    found += f", and {name} wants {wanted / _GIB:.1f} GiB with its caches" if short else ""
    yield _check("wired limit", found, f"sudo sysctl iogpu.wired_limit_mb={-(-wanted >> 20)}", short)


def _files_and_energy(around: Surroundings) -> Iterator[Check]:
    want, _, remedy = around.want_of_files.partition("; ")
    yield _check("open files", want or "as many as mlx-lm needs", remedy)
    untold = "unknown; needs pip install 'swapbench[energy]' on a Mac, and readable RAPL files on Linux"
    # No advice: no other figure is better for it.
    yield _check("energy", around.energy) if around.energy else unknown("energy", untold)


def _storage(found: Storage) -> Check:
    volume = found.volume
    text = f"{volume.mount} ({', '.join(filter(None, (volume.file_system, found.bus)))})"
    advice = ""
    if volume.file_system in _ELSEWHERE:
        advice = "loads wait for another machine, or a host; keep models on a disk of this one"
    elif found.external:
        text += ", removable or external"
        advice = "cold loads are as fast as its cable; keep models on the internal drive"
    elif found.encrypted:
        # The drive's controller de- and encrypts whatever the setting.
        text += ", FileVault on, at no cost here"
    return _check("models' volume", text, advice)


def judge_examination(found: Examination) -> tuple[Check, ...]:
    """What only the doctor looks at: MLX, the instruments, and what memory and page cache really do."""
    return (*_mlx(found), *_instruments(found))


def _mlx(found: Examination) -> Iterator[Check]:
    device = f"{found.device} ({found.device_name})"
    yield _check("MLX", f"{found.mlx_version} on {device}, mlx-lm {found.mlx_lm_version}")
    if found.unasked is not None:
        said = "; ".join(found.unasked) or "mlx-lm calls swapbench's loaders as expected"
        advice = "they load as stock does; install an mlx-lm that swapbench was tested with"
        yield _check("loaders", said, advice, bool(found.unasked))
    if found.working_set_bytes is None:
        advice = "models compute slowly here, and no figure is a Mac's"
        yield _check("Metal", "not available: this is MLX's CPU build", advice)
    else:
        yield _check("Metal", f"recommended working set {found.working_set_bytes / _GIB:.1f} GiB")


def _instruments(found: Examination) -> Iterator[Check]:
    text = (
        f"{found.probe_phase_s * 1e3:.2f} ms a phase (median of {found.probe_phases}, at most "
        f"{found.probe_phase_most_s * 1e3:.2f} ms)"
    )
    advice = "small phases drown in it; look at load first"
    yield _check("the probe's own cost", text, advice, found.probe_phase_s > _PROBE_PHASE_S)
    text = f"{found.sampler_share:.1%} of a core at one sample every {found.sample_every_s * 1e3:g} ms"
    advice = "sample less often: --set sample_every_s=0.2"
    yield _check("the sampler's share", text, advice, found.sampler_share > _SAMPLER_SHARE)
    first, second = found.first_touch_gb_per_s, found.second_touch_gb_per_s
    text = f"{first:.1f} GB/s at the first touch, {second:.1f} at the second"
    advice = (
        "free pages have to be found anew, as when a host has taken them back (ballooning): first loads are "
        "slower than later ones; have warm-up rounds"
    )
    yield _check("fresh memory", text, advice, second >= _TOUCH_RATIO * first)
    if found.resident_after_evict is None:
        yield unknown("page cache", "could not be tried in the models' folder")
        return
    kept = found.resident_after_evict > found.cold_share
    text = "can't be emptied here" if kept else "can be emptied without privileges"
    text += f": {found.resident_after_evict:.0%} of a file resident after it was evicted"
    advice = "cold swaps will be marked invalid: keep the models on another file system"
    yield _check("page cache", text, advice, kept)


def complaint_about_device(found: Examination, wanted: str) -> str:
    """What is wrong where MLX computes by itself on another device than `wanted`; empty where it does not."""
    if found.device == wanted:
        return ""
    why = {
        "gpu": "it finds no GPU here; this is no Mac, or a virtual machine that has none",
        "cpu": "it takes the GPU wherever there is one",
    }
    return f"MLX computes on the {found.device} ({found.device_name}), not on the {wanted}: {why[wanted]}"


def judge_room(what: str, folder: Path, free_bytes: int) -> Check:
    """Whether models, or results, have room in their folder."""
    text = f"{free_bytes / 1e9:.1f} GB free for {what} ({folder})"
    return _check(f"disk for {what}", text, "delete what is not needed", free_bytes < _LEAST_DISK_BYTES)
