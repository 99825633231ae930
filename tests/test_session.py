from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from mosaicell.errors import OptionError
from mosaicell.networks import session as session_module
from mosaicell.networks.session import Session, available_threads, is_out_of_memory, resolve_device
from tests.models import write_channel_model

RuntimeException = ort.capi.onnxruntime_pybind11_state.RuntimeException


def test_runs_any_batch_and_size(tmp_path: Path, rng: np.random.Generator) -> None:
    session = Session(write_channel_model(tmp_path / "m.onnx", (2, 0)), "cpu", 1, 1.0)
    for shape in ((1, 3, 32, 32), (5, 3, 64, 96)):
        batch = rng.random(shape, np.float32)
        (maps,) = session.run(batch)
        assert np.array_equal(maps, batch[:, [2, 0]])


def test_threads_do_not_change_the_result(tmp_path: Path, rng: np.random.Generator) -> None:
    path = write_channel_model(tmp_path / "m.onnx")
    batch = rng.random((2, 3, 64, 64), np.float32)
    one, two = (Session(path, "cpu", threads, 1.0).run(batch)[0] for threads in (1, 2))
    assert np.array_equal(one, two)


def test_out_of_memory_halves_the_batch_down_to_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(write_channel_model(tmp_path / "m.onnx"), "cpu", 1, 1.0)
    inner, sizes = session._session, []

    class Small:
        def run(self, names: None, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
            sizes.append(len(feeds["image"]))
            if sizes[-1] > 2:
                raise RuntimeException("Failed to allocate memory for requested buffer of size 12")
            return inner.run(names, feeds)

    monkeypatch.setattr(session, "_session", Small())
    batch = np.arange(5 * 3 * 4, dtype=np.float32).reshape(5, 3, 2, 2)
    (maps,) = session.run(batch)
    assert np.array_equal(maps, batch[:, :2])
    assert sizes == [5, 2, 2, 1]
    session.run(batch[:3])
    assert sizes[4:] == [2, 1]


def test_one_tile_too_many_is_a_memory_error_and_other_errors_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(write_channel_model(tmp_path / "m.onnx"), "cpu", 1, 1.0)

    def failing(message: str) -> type:
        class Failing:
            def run(self, *_: object) -> None:
                raise RuntimeException(message)

        return Failing

    monkeypatch.setattr(session, "_session", failing("CUDA out of memory")())
    with pytest.raises(MemoryError, match="2 x 2 px"):
        session.run(np.zeros((1, 3, 2, 2), np.float32))
    monkeypatch.setattr(session, "_session", failing("bad input")())
    with pytest.raises(RuntimeException, match="bad input"):
        session.run(np.zeros((1, 3, 2, 2), np.float32))


def test_out_of_memory_is_told_from_other_errors() -> None:
    assert is_out_of_memory(RuntimeError("BFCArena: Available memory of 5 is smaller than requested"))
    assert not is_out_of_memory(RuntimeError("invalid dimensions"))


def test_missing_gpu_is_an_error_unless_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module.ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert resolve_device("auto") == "cpu"
    assert resolve_device("cpu") == "cpu"
    for device in ("cuda", "cuda:1"):
        with pytest.raises(OptionError, match="no CUDA provider"):
            resolve_device(device)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:", "cuda:²", "", "CPU"])
def test_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(OptionError, match="unknown"):
        resolve_device(device)


def test_cuda_that_falls_back_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse what onnxruntime only warns about: CUDA that cannot start and a run on the CPU."""
    path = write_channel_model(tmp_path / "m.onnx")
    real = ort.InferenceSession

    def without_cuda(model: str, options: ort.SessionOptions, providers: list[object]) -> ort.InferenceSession:
        assert providers[0][0] == "CUDAExecutionProvider"  # type: ignore[index]
        return real(model, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(session_module.ort, "InferenceSession", without_cuda)
    with pytest.raises(OptionError, match="could not start"):
        Session(path, "cuda:0", 1, 1.0)


def test_a_file_that_is_no_model_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(OptionError, match=r"cannot load .*m\.onnx on cpu"):
        Session(tmp_path / "m.onnx", "cpu", 1, 1.0)


def test_available_threads_is_at_least_one() -> None:
    assert available_threads() >= 1


@pytest.mark.parametrize(
    ("files", "threads"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "20000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"quota": "300000\n", "period": "100000\n"}, 3),
        ({"quota": "-1\n", "period": "100000\n"}, 8),
        ({"cpu.max": "nonsense"}, 8),
        ({}, 8),
    ],
)
def test_threads_keep_to_the_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], threads: int
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="ascii")
    paths = [str(tmp_path / name) for name in ("cpu.max", "quota", "period")]
    monkeypatch.setattr(session_module, "CPU_QUOTA_FILES", ((paths[0],), (paths[1], paths[2])))
    monkeypatch.setattr(session_module.os, "sched_getaffinity", lambda process: set(range(8)))
    assert available_threads() == threads


def test_a_model_of_several_inputs_is_asked_by_their_names(tmp_path: Path, rng: np.random.Generator) -> None:
    difference = helper.make_node("Sub", ["one", "other"], ["difference"])
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in ("one", "other", "difference")
    ]
    graph = helper.make_graph([difference], "difference", infos[:2], infos[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, tmp_path / "m.onnx")
    session = Session(tmp_path / "m.onnx", "cpu", 1, 1.0)
    for count in (2, 0):
        one, other = rng.random((2, count, 3), np.float32)
        (answer,) = session.ask({"other": other, "one": one})
        assert np.array_equal(answer, one - other)


def test_inputs_that_do_not_fit_are_a_memory_error_and_other_errors_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(write_channel_model(tmp_path / "m.onnx"), "cpu", 1, 1.0)
    for message, error in (("Failed to allocate memory", MemoryError), ("wrong node", RuntimeException)):

        class Failing:
            said = message

            def run(self, *_: object) -> None:
                raise RuntimeException(self.said)

        monkeypatch.setattr(session, "_session", Failing())
        with pytest.raises(error, match=r"wrong node|boxes"):
            session.ask({"boxes": np.zeros((3, 4), np.float32)})
