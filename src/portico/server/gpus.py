"""Which GPUs this machine has, and what becomes of functions that need others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from portico.pools.errors import NeedsGpu
from portico.wire.manifest import AppManifest, FunctionSpec

DRIVER = Path("/proc/driver/nvidia/gpus")  # a folder for each GPU that NVIDIA's driver has found
MODEL = re.compile(r"^Model:\s*(.+?)\s*$", re.MULTILINE)


def gpus_here(driver: Path = DRIVER) -> tuple[str, ...]:
    """The models of this machine's GPUs, as their driver names them."""
    found = []
    for path in sorted(driver.glob("*/information")):
        model = MODEL.search(path.read_text("utf-8", "replace"))
        found.append(model[1] if model else "")
    return tuple(found)


class Gpus:
    """The GPUs of a server; with `ignored`, functions run without those that it does not have."""

    def __init__(self, models: Sequence[str] = (), *, ignored: bool = False) -> None:
        self._models = models
        self._ignored = ignored

    def refusal(self, function: FunctionSpec) -> NeedsGpu | None:
        """Why no container of the function may start; None where one may."""
        if self._ignored or not self._lacks(function.gpu):
            return None
        return NeedsGpu(
            f"{function.name} needs the GPU {function.gpu}, which this server does not have; "
            "started with --ignore-gpu or PORTICO_IGNORE_GPU=1, the server runs it on the CPU"
        )

    def warnings(self, manifest: AppManifest) -> Iterator[str]:
        """What whoever deploys should know."""
        for function in manifest.functions:
            if not self._lacks(function.gpu):
                continue
            refusal = self.refusal(function)
            if refusal is not None:
                yield f"{refusal}. Until then it answers 503"
            else:
                yield (
                    f"{function.name} asks for the GPU {function.gpu}, which this server does not have: "
                    "it runs on the CPU (--ignore-gpu)"
                )

    def _lacks(self, wanted: str | None) -> bool:
        """Whether there are fewer than `wanted` says: a model or ``any``, and perhaps a number (``A100:2``)."""
        if not wanted:
            return False
        model, _, number = wanted.partition(":")
        words = set(re.split(r"[\s-]+", model.lower())) - {"any"}
        fitting = [m for m in self._models if words <= set(re.split(r"[\s-]+", m.lower()))]
        return len(fitting) < (int(number) if number.isdigit() else 1)
