"""What machines can do: GPUs by what their makers published, and this one by what it did a moment ago."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from yosegi.errors import UnknownName

UTILISATION = {"cuda": 0.55, "cpu": 0.65}
"""Of the published rate of dense bf16 GEMMs, or of the measured one, what the GEMMs of a training reach. For GPUs an assumption:
reports of well-tuned trainings lie between 0.35 and 0.65; nobody has measured ours. That for CPUs was measured, on one."""
APART = {"cuda": 2.0, "cpu": 2.5}
"""The time is uncertain by such a factor, either way. On CPUs it is hopeful where layers are narrow, or dropout draws noise."""
RESERVED = {"cuda": (1.0, 0.05), "cpu": (0.45, 0.0)}
"""(GB that the libraries take before the first tensor, share lost between blocks of memory): beyond what is predicted. On a CPU
that share is not one of the peak (memory.GAPS)."""

WIDE = 512
"""Hidden size from which bf16 pays on a CPU that has it: at 576 it is three times as fast forward, 1.7 times in training."""


@cache
def cpu_has_bf16() -> bool:
    """Returns whether this CPU multiplies in bf16 itself; on others it is ten times slower than fp32."""
    import torch

    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or torch.cpu._is_amx_tile_supported())


@dataclass(frozen=True)
class Machine:
    """One device.

    Args:
        name: for the reader.
        memory: bytes.
        flops: a second; multiply-adds count as two; dense, in the precision that is computed in.
        bandwidth: bytes a second, of its memory.
        device: cuda or cpu.
        count: number of such devices.
        measured: whether the rates were measured here, and not published.
    """

    name: str
    memory: float
    flops: float
    bandwidth: float
    device: str = "cuda"
    count: int = 1
    measured: bool = False


# name: memory in GB, dense TFLOPS in bf16 with fp32 sums (fp16 before Ampere), in fp32, GB/s
PUBLISHED = {
    "t4": (16, 65, 8.1, 320),
    "v100": (32, 125, 15.7, 900),
    "a10": (24, 125, 31.2, 600),
    "rtx3090": (24, 71, 35.6, 936),
    "rtx4090": (24, 165, 82.6, 1008),
    "rtx5090": (32, 209, 104.8, 1792),
    "l4": (24, 121, 30.3, 300),
    "a40": (48, 149.7, 37.4, 696),
    "a6000": (48, 154.8, 38.7, 768),
    "rtx6000ada": (48, 182, 91.1, 960),
    "l40s": (48, 362, 91.6, 864),
    "a100-40gb": (40, 312, 19.5, 1555),
    "a100-80gb": (80, 312, 19.5, 2039),
    "h100-pcie": (80, 756, 51, 2000),
    "h100": (80, 989, 67, 3350),
    "h200": (141, 989, 67, 4800),
    "b200": (180, 2250, 80, 8000),
}
"""From the data sheets, without sparsity."""


def published(name: str, bf16: bool = True, count: int = 1) -> Machine:
    """Returns a GPU by its name, or one of so many "48GB", about which nothing else is known."""
    key = re.sub(r"^(nvidia|geforce|tesla|rtx)-(?=[ahltv])", "", re.sub(r"[\s_]+", "-", name.strip().lower()))
    key = re.sub(r"^rtx-", "rtx", key)
    if (size := re.fullmatch(r"(\d+(?:\.\d+)?)-?gi?b?", key)) and float(size[1]) > 0:
        return Machine(name, float(size[1]) * 2**30, 0.0, 0.0, "cuda", count)
    if key not in PUBLISHED:
        raise UnknownName.among("GPU", name, [*PUBLISHED, "48GB"])
    memory, half, single, bandwidth = PUBLISHED[key]
    return Machine(key, memory * 2**30, (half if bf16 else single) * 1e12, bandwidth * 1e9, "cuda", count)


def here(
    bf16: bool = False,
    width: int = 1024,
    rows: int = 1024,
    seconds: float = 1.0,
    clock: Callable[[], float] = time.perf_counter,
) -> Machine:
    """Returns this machine, its rates measured by a GEMM of such a shape and a copy, for about so many seconds of the clock."""
    import psutil
    import torch

    gpu = torch.cuda.is_available()
    device, kind = "cuda" if gpu else "cpu", torch.bfloat16 if bf16 else torch.float32
    x, w = (torch.randn(n, width, device=device, dtype=kind) for n in (rows, width))  # w as a linear has it
    y = torch.empty(rows, width, device=device, dtype=kind)
    a = torch.zeros(8 << 20, device=device)  # 32 MB, more than a core's cache holds
    b = torch.empty_like(a)

    def a_second(act: Callable[[], object], seconds: float) -> float:
        """Returns how often this can be done in a second: the best of the turns, since others use the machine as well."""
        best, ends = float("inf"), 0.0
        while not ends or clock() < ends:
            started = clock()
            act()
            if gpu:
                torch.cuda.synchronize()
            if ends:  # the first turn warms up
                best = min(best, clock() - started)
            ends = ends or clock() + seconds
        return 1 / best

    flops = 2 * rows * width * width * a_second(lambda: torch.mm(x, w.mT, out=y), 0.6 * seconds)
    bandwidth = 2 * a.numel() * 4 * a_second(lambda: b.copy_(a), 0.3 * seconds)
    if gpu:
        name, memory = torch.cuda.get_device_name(), torch.cuda.mem_get_info()[1]
    else:
        most = Path("/sys/fs/cgroup/memory.max")
        limit = most.read_text().strip() if most.exists() else "max"
        name, memory = "this machine", psutil.virtual_memory().total
        memory = memory if limit == "max" else min(memory, int(limit))
    return Machine(name, memory, flops, bandwidth, device, measured=True)
