"""From what was found to what to do about it. Nothing is looked at here."""

from collections.abc import Mapping

from swapbench.machine.doctor import Check, advise, fine, unknown
from swapbench.machine.doctor.surroundings import Examination, Power, Room, Storage, Surroundings

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


def judge_surroundings(
    around: Surroundings, models: Mapping[str, int], working_set_bytes: int | None = None
) -> tuple[Check, ...]:
    """What every run looks at before it begins.

    Args:
        models: bytes of weights by name.
        working_set_bytes: Metal's recommendation, which is the GPU's limit where nobody has set one.
    """
    return (
        _load(around),
        _priority(around.held_back),
        _memory(around),
        *_memory_pressure(around.memory_pressure),
        _swap(around),
        *_power(around.power),
        _thermal(around),
        _virtual(around.virtual_machine),
        *_reclaim(around.reclaims_idle_pages),
        *_huge_pages(around.huge_pages),
        *_wired(around, models, working_set_bytes),
        _open_files(around.want_of_files),
        _energy(around.energy),
        *map(_storage, around.storages),
    )


def _load(around: Surroundings) -> Check:
    ours = around.processors
    found = f"load average {around.load:.1f} on {around.cores} cores"
    if ours.by:
        found += f", of which {ours.count:g} may be used here, limited by {ours.by}"
    if around.load <= _BUSY_SHARE * around.cores:
        return fine("load", found)
    # Nobody is named: what a run notes is shown to others.
    return advise("load", found, "other processes are busy; wait until they are done")


def _priority(held_back: str) -> Check:
    if not held_back:
        return fine("priority", "not held back")
    advice = "it waits for other processes; start it otherwise, a launchd job with ProcessType Interactive"
    return advise("priority", f"this process is {held_back}", advice)


def _memory(around: Surroundings) -> Check:
    free, total = around.memory.available, around.memory.total
    found = f"{free.bytes / _GIB:.1f} of {total.bytes / _GIB:.1f} GiB of memory available"
    found += free.limited or total.limited
    if free.bytes >= _FREE_MEMORY_SHARE * total.bytes:
        return fine("memory", found)
    raised = "raise that limit, or " if free.by else ""
    return advise("memory", found, f"{raised}close what you don't need")


def _memory_pressure(found: str) -> tuple[Check, ...]:
    return (advise("memory pressure", found, "close what you don't need"),) if found else ()


def _swap(around: Surroundings) -> Check:
    found = f"{around.swap_used_bytes / _GIB:.1f} GiB of swap in use"
    if around.swap_used_bytes < _SWAP_BYTES:
        return fine("swap", found)
    return advise("swap", found, "memory was short before; close what you don't need")


def _power(power: Power) -> tuple[Check, ...]:
    checks = []
    if power.on_battery:
        checks.append(advise("power", "not on mains", "the machine may throttle; plug it in"))
    elif power.on_battery is None:
        checks.append(unknown("power", "no power source reported, as on desktops and virtual machines"))
    else:
        checks.append(fine("power", "on mains"))
    if power.low_power_mode:
        checks.append(advise("power mode", "low power mode is on", "turn it off in System Settings, Battery"))
    if power.governor == "powersave":
        advice = "set another: cpupower frequency-set -g performance"
        checks.append(advise("power mode", "the CPU's governor is powersave", advice))
    return tuple(checks)


def _thermal(around: Surroundings) -> Check:
    if around.thermal_pressure is None:
        return unknown("thermal pressure", "not reported here")
    found = _PRESSURE[min(around.thermal_pressure, len(_PRESSURE) - 1)]
    if around.thermal_warning:
        found += ", and a thermal warning is recorded"
    if around.thermal_pressure == 0 and not around.thermal_warning:
        return fine("thermal pressure", found)
    return advise("thermal pressure", found, "let the machine cool down")


def _virtual(machine: str | None) -> Check:
    if machine is None:
        return fine("virtual machine", "none seen")
    # Nothing that anyone could do about it before a run.
    return fine("virtual machine", f"{machine}, which shares disk and memory: compare within one run only")


def _reclaim(reclaims: bool) -> tuple[Check, ...]:
    if not reclaims:
        return ()
    return (
        advise(
            "idle pages",
            "the kernel takes idle pages back while memory is free (DAMON pageout): warm page caches and "
            "footprints shrink by themselves",
            "as root, echo off > /sys/kernel/mm/damon/admin/kdamonds/0/state",
        ),
    )


def _huge_pages(setting: str | None) -> tuple[Check, ...]:
    if setting is None:
        return ()
    if setting == "never":
        advice = "first touches of memory are several times slower; as root, echo madvise > "
        return (advise("huge pages", setting, f"{advice}/sys/kernel/mm/transparent_hugepage/enabled"),)
    return (fine("huge pages", setting),)


def _wired(
    around: Surroundings, models: Mapping[str, int], working_set_bytes: int | None
) -> tuple[Check, ...]:
    if around.wired_limit_bytes is None:
        return ()
    limit = around.wired_limit_bytes or working_set_bytes
    whose = "set by iogpu.wired_limit_mb" if around.wired_limit_bytes else "the system's own"
    found = f"{limit / _GIB:.1f} GiB, {whose}" if limit else whose
    most = around.memory.total.bytes - _SYSTEM_BYTES
    wants = ((int(weights * _MODEL_SHARE), name) for name, weights in models.items())
    # For one that has no room in memory no limit helps.
    wanted, name = max((want for want in wants if want[0] <= most), default=(0, ""))
    if limit is None or wanted <= limit:
        return (fine("wired limit", found),)
    found += f", and {name} wants {wanted / _GIB:.1f} GiB with its caches"
    return (advise("wired limit", found, f"sudo sysctl iogpu.wired_limit_mb={-(-wanted >> 20)}"),)


def _open_files(want: str) -> Check:
    if not want:
        return fine("open files", "as many as mlx-lm needs")
    what, _, remedy = want.partition("; ")
    return advise("open files", what, remedy)


def _energy(source: str) -> Check:
    if source:
        return fine("energy", source)
    # No advice: no other figure is better for it.
    return unknown(
        "energy", "unknown; needs pip install 'swapbench[energy]' on a Mac, and readable RAPL files on Linux"
    )


def _storage(found: Storage) -> Check:
    volume = found.volume
    kind = ", ".join(filter(None, (volume.file_system, found.bus)))
    text = f"{volume.mount} ({kind})"
    if volume.file_system in _ELSEWHERE:
        advice = "loads wait for another machine, or a host; keep models on a disk of this one"
        return advise("models' volume", text, advice)
    if found.external:
        advice = "cold loads are as fast as its cable; keep models on the internal drive"
        return advise("models' volume", f"{text}, removable or external", advice)
    # The drive's controller de- and encrypts whatever the setting.
    return fine("models' volume", f"{text}, FileVault on, at no cost here" if found.encrypted else text)


def judge_examination(found: Examination) -> tuple[Check, ...]:
    """What only the doctor looks at: MLX, the instruments, and what memory and page cache really do."""
    return (
        *_mlx(found),
        _probe(found),
        _sampler(found),
        _touch(found),
        _page_cache(found),
    )


def _mlx(found: Examination) -> tuple[Check, ...]:
    device = f"{found.device} ({found.device_name})"
    mlx = (
        fine("MLX", f"{found.mlx_version} on {device}, mlx-lm {found.mlx_lm_version}"),
        *_substitutes(found),
    )
    if found.working_set_bytes is None:
        advice = "models compute slowly here, and no figure is a Mac's"
        return (*mlx, advise("Metal", "not available: this is MLX's CPU build", advice))
    return (*mlx, fine("Metal", f"recommended working set {found.working_set_bytes / _GIB:.1f} GiB"))


def _substitutes(found: Examination) -> tuple[Check, ...]:
    if found.unasked is None:
        return ()
    if not found.unasked:
        return (fine("loaders", "mlx-lm calls swapbench's loaders as expected"),)
    advice = "they load as stock does; install an mlx-lm that swapbench was tested with"
    return (advise("loaders", "; ".join(found.unasked), advice),)


def _probe(found: Examination) -> Check:
    text = (
        f"{found.probe_phase_s * 1e3:.2f} ms a phase (median of {found.probe_phases}, at most "
        f"{found.probe_phase_most_s * 1e3:.2f} ms)"
    )
    if found.probe_phase_s <= _PROBE_PHASE_S:
        return fine("the probe's own cost", text)
    return advise("the probe's own cost", text, "small phases drown in it; look at load first")


def _sampler(found: Examination) -> Check:
    text = f"{found.sampler_share:.1%} of a core at one sample every {found.sample_every_s * 1e3:g} ms"
    if found.sampler_share <= _SAMPLER_SHARE:
        return fine("the sampler's share", text)
    return advise("the sampler's share", text, "sample less often: --set sample_every_s=0.2")


def _touch(found: Examination) -> Check:
    first, second = found.first_touch_gb_per_s, found.second_touch_gb_per_s
    text = f"{first:.1f} GB/s at the first touch, {second:.1f} at the second"
    if second < _TOUCH_RATIO * first:
        return fine("fresh memory", text)
    advice = (
        "free pages have to be found anew, as when a host has taken them back (ballooning): first loads are "
        "slower than later ones; have warm-up rounds"
    )
    return advise("fresh memory", text, advice)


def _page_cache(found: Examination) -> Check:
    if found.resident_after_evict is None:
        return unknown("page cache", "could not be tried in the models' folder")
    text = f"{found.resident_after_evict:.0%} of a file resident after it was evicted"
    if found.resident_after_evict <= found.cold_share:
        return fine("page cache", f"can be emptied without privileges: {text}")
    advice = "cold swaps will be marked invalid: keep the models on another file system"
    return advise("page cache", f"can't be emptied here: {text}", advice)


def complaint_about_device(found: Examination, wanted: str) -> str:
    """What is wrong where MLX computes by itself on another device than `wanted`; empty where it does not."""
    if found.device == wanted:
        return ""
    why = {
        "gpu": "it finds no GPU here; this is no Mac, or a virtual machine that has none",
        "cpu": "it takes the GPU wherever there is one",
    }
    return f"MLX computes on the {found.device} ({found.device_name}), not on the {wanted}: {why[wanted]}"


def judge_room(rooms: tuple[Room, ...]) -> tuple[Check, ...]:
    """Whether models and results have room."""
    checks = []
    for room in rooms:
        text = f"{room.free_bytes / 1e9:.1f} GB free for {room.what} ({room.folder})"
        if room.free_bytes >= _LEAST_DISK_BYTES:
            checks.append(fine(f"disk for {room.what}", text))
        else:
            checks.append(advise(f"disk for {room.what}", text, "delete what is not needed"))
    return tuple(checks)
