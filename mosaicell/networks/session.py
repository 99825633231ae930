"""The one place that talks to onnxruntime: devices, threads, memory limits, out-of-memory fallback."""

from __future__ import annotations

import logging
import math
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mosaicell.errors import OptionError

# read when onnxruntime is loaded: else it reports its use to its maker, and leaves files in the home folder
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort

log = logging.getLogger(__name__)

#: what onnxruntime raises when it runs out of memory, among other things
FAILURES = (
    ort.capi.onnxruntime_pybind11_state.RuntimeException,
    ort.capi.onnxruntime_pybind11_state.Fail,
)
#: where a control group's CPU quota and its period stand in us, for versions 2 and 1
CPU_QUOTA_FILES = (
    ("/sys/fs/cgroup/cpu.max",),
    ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)


def available_providers() -> list[str]:
    """Name what the installed onnxruntime can run on, whether or not this machine has it."""
    return ort.get_available_providers()


def available_threads() -> int:
    """Return how many threads this process may use: its CPU affinity, limited by the control group's quota.

    The quota, which `docker run --cpus` sets, does not show in the affinity.
    """
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for files in CPU_QUOTA_FILES:
        try:
            quota, period = " ".join(Path(file).read_text(encoding="ascii") for file in files).split()
        except (OSError, ValueError):
            # no control group of this version
            continue
        if quota not in ("max", "-1"):
            threads = min(threads, max(1, math.ceil(int(quota) / int(period))))
    return threads


def resolve_device(device: str) -> str:
    """Turn "auto" into "cuda:0" or "cpu"; check that an asked-for device exists.

    Raises
    ------
    OptionError
        When CUDA is asked for and this onnxruntime has no CUDA provider, or the text is no device.
    """
    has_cuda = "CUDAExecutionProvider" in available_providers()
    if device == "auto":
        return "cuda:0" if has_cuda and Path("/dev/nvidiactl").exists() else "cpu"
    if device == "cpu":
        return "cpu"
    if not re.fullmatch(r"cuda(:[0-9]+)?", device):
        raise OptionError(f"device {device!r} is unknown; allowed are auto, cpu, cuda, cuda:N")
    if not has_cuda:
        raise OptionError(
            f"device {device!r} was asked for, but this onnxruntime has no CUDA provider "
            "(install requirements.txt, or use --device cpu)"
        )
    return device if ":" in device else "cuda:0"


class Session:
    """One loaded model.

    Parameters
    ----------
    path
        ONNX file.
    device
        "cpu" or "cuda:N", from `resolve_device`.
    threads
        CPU threads of one operator.
    gpu_mem_limit_gb
        Size of onnxruntime's arena on the GPU.

    Raises
    ------
    OptionError
        When the file is no model, or the CUDA provider is there but cannot start.
    """

    def __init__(self, path: Path, device: str, threads: int, gpu_mem_limit_gb: float) -> None:
        options = ort.SessionOptions()
        # Set explicitly: the default pins threads to cores, which fails under cpusets and batch schedulers.
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that wait sleep instead of spinning: on slides the cores decode meanwhile (a tenth faster; a single
        # image is 2 ms slower).
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        providers: list[Any] = ["CPUExecutionProvider"]
        if device.startswith("cuda"):
            if hasattr(ort, "preload_dlls"):
                ort.preload_dlls()
            cuda = {
                "device_id": int(device.partition(":")[2]),
                "arena_extend_strategy": "kSameAsRequested",
                "gpu_mem_limit": int(gpu_mem_limit_gb * 1e9),
                "cudnn_conv_algo_search": "HEURISTIC",
            }
            providers.insert(0, ("CUDAExecutionProvider", cuda))
        try:
            self._session = ort.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # its exceptions share no base class
            raise OptionError(f"onnxruntime cannot load {path} on {device}: {error}") from error
        used = self._session.get_providers()[0]
        if device.startswith("cuda") and used != "CUDAExecutionProvider":
            raise OptionError(
                f"device {device!r} was asked for, but CUDA could not start; onnxruntime fell back to {used}"
            )
        self._input = self._session.get_inputs()[0].name
        self._batch_limit = sys.maxsize

    def run(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run a batch float32 (b, c, h, w); halve it when memory runs out, down to single tiles, and stay with that.

        Raises
        ------
        MemoryError
            When even one tile does not fit.
        """
        if len(batch) <= self._batch_limit:
            try:
                return tuple(self._session.run(None, {self._input: np.ascontiguousarray(batch)}))
            except FAILURES as error:
                if not is_out_of_memory(error):
                    raise
                if len(batch) == 1:
                    shape = f"{batch.shape[2]} x {batch.shape[3]} px"
                    raise MemoryError(f"one tile of {shape} does not fit into memory") from error
                self._batch_limit = len(batch) // 2
                log.warning("out of memory with %d tiles at once: going on with %d", len(batch), self._batch_limit)
        limit = self._batch_limit
        parts = [self.run(batch[first : first + limit]) for first in range(0, len(batch), limit)]
        return tuple(np.concatenate(outputs) for outputs in zip(*parts, strict=True))

    def ask(self, inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        """Run a model of several inputs, by their names; they are no batch that could be halved.

        Raises
        ------
        MemoryError
            When they do not fit.
        """
        try:
            return tuple(self._session.run(None, {name: np.ascontiguousarray(x) for name, x in inputs.items()}))
        except FAILURES as error:
            if not is_out_of_memory(error):
                raise
            shapes = ", ".join(f"{name} {values.shape}" for name, values in inputs.items())
            raise MemoryError(f"what a model was asked does not fit into memory: {shapes}") from error


def is_out_of_memory(error: Exception) -> bool:
    """Say whether an onnxruntime error is a failed allocation."""
    text = str(error).lower()
    return any(phrase in text for phrase in ("failed to allocate", "out of memory", "bad_alloc", "available memory"))
