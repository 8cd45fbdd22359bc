"""Made-up machines: the files of ``/proc`` and ``/sys`` that are read, below a folder."""

from collections.abc import Mapping
from pathlib import Path

from quantbench.system.linux import Linux
from quantbench.system.processors import CPU


def machine(root: Path, files: Mapping[str, str]) -> Linux:
    """A machine with these files."""
    for path, text in files.items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    return Linux(root)


def siblings(*cores: tuple[int, ...]) -> dict[str, str]:
    """Topology files of cores, each with the CPUs on it."""
    return {
        f"{CPU}/cpu{number}/topology/thread_siblings_list": ",".join(map(str, core))
        for core in cores
        for number in core
    }


def arm(*cores: tuple[str, str]) -> dict[str, str]:
    """``/proc/cpuinfo`` of 64-bit Arm cores, each with implementer and part."""
    text = "\n\n".join(
        f"processor\t: {number}\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd asimddp i8mm\n"
        f"CPU implementer\t: {implementer}\nCPU architecture: 8\nCPU variant\t: 0x1\nCPU part\t: {part}\nCPU revision\t: 1"
        for number, (implementer, part) in enumerate(cores)
    )
    return {"/proc/cpuinfo": text}
