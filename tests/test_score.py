"""The score command: its table and file, missing and unreadable masks, its exit code."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from mosaicell.evaluation.metrics import score_image
from mosaicell.evaluation.score import main, read_modalities

ROOT = Path(__file__).parent.parent


def write(path: Path, labels: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    tifffile.imwrite(path, labels, compression="zlib", photometric="minisblack")


def grid_of_cells(n_cells: int) -> np.ndarray:
    """Draw up to 16 square cells of 6 x 6 px, away from the border."""
    labels = np.zeros((40, 40), dtype=np.uint16)
    for index in range(n_cells):
        y, x = 4 + 8 * (index // 4), 4 + 8 * (index % 4)
        labels[y : y + 6, x : x + 6] = index + 1
    return labels


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Make three true images; of the predictions one is perfect, one loses 2 of 4 cells, one is shifted."""
    truth, prediction = tmp_path / "truth", tmp_path / "prediction"
    for name, true_cells, predicted in (
        ("a", 10, grid_of_cells(10)),
        ("b", 4, grid_of_cells(2)),
        ("c.dotted", 8, np.roll(grid_of_cells(8), 1, axis=1)),
    ):
        write(truth / f"{name}_label.tiff", grid_of_cells(true_cells))
        write(prediction / f"{name}_label.tiff", predicted)
    return truth, prediction


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[list[str]], list[str]]:
    """Run the command and return its exit code, the cells of its table, and its lines on stderr."""
    code = main([str(argument) for argument in arguments])
    output = capsys.readouterr()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in output.out.splitlines()]
    return code, table[2:], output.err.splitlines()


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_holds_mean_median_and_sums(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """F1 at 0.5: 1, 2/3 and 1 (IoU 5/7); at 0.8 the shifted cells are lost."""
    code, table, errors = run(capsys, "-g", folders[0], "-s", folders[1], "--thresholds", 0.5, 0.8)
    assert (code, errors) == (0, [])
    assert table == [
        ["0.5", "all", "3", f"{8 / 9:.4f}", "1.0000", "1.0000", f"{5 / 6:.4f}", "22", "20", "20"],
        ["0.8", "all", "3", f"{5 / 9:.4f}", f"{2 / 3:.4f}", f"{2 / 3:.4f}", "0.5000", "22", "20", "12"],
    ]


def test_the_file_has_a_row_for_each_image_and_threshold_under_the_organisers_names(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "scores.csv"
    run(capsys, "-g", folders[0], "-s", folders[1], "--thresholds", 0.5, 0.8, "-o", output)
    rows = read_rows(output)
    assert [(row["names"], row["threshold"]) for row in rows] == [
        (f"{name}_label.tiff", threshold) for name in ("a", "b", "c.dotted") for threshold in ("0.5", "0.8")
    ]
    partly = rows[2]
    assert [partly[key] for key in ("true_num", "pred_num", "correct_num", "missed_num", "wrong_num")] == [
        *("4", "2", "2", "2", "0")
    ]
    assert (partly["precision"], partly["recall"], partly["F1"]) == ("1.0000", "0.5000", "0.6667")
    assert partly["dice"] == "0.6667"
    (direct,) = score_image(grid_of_cells(8), np.roll(grid_of_cells(8), 1, axis=1), [0.5])
    assert float(rows[4]["dice"]) == pytest.approx(direct.dice, abs=1e-4)


def test_a_missing_prediction_counts_as_zero_and_is_named(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folders[1] / "a_label.tiff").unlink()
    output = tmp_path / "scores.csv"
    code, table, errors = run(capsys, "-g", folders[0], "-s", folders[1], "-o", output)
    assert code == 1
    assert table == [["0.5", "all", "3", f"{5 / 9:.4f}", "0.6667", "0.6667", "0.5000", "22", "10", "10"]]
    assert len(errors) == 1
    assert errors[0].startswith("a_label.tiff: counted as 0: no such file")
    first = read_rows(output)[0]
    assert (first["true_num"], first["pred_num"], first["F1"], first["dice"]) == (
        "10",
        "0",
        "0.0000",
        "0.0000",
    )
    assert "no such file" in first["problem"]


@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "other size", "folder"])
def test_a_prediction_that_cannot_be_compared_counts_as_zero_and_the_rest_goes_on(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    path = folders[1] / "b_label.tiff"
    content = path.read_bytes()
    path.unlink()
    if damage == "other size":
        write(path, grid_of_cells(4)[:, :-1])
    elif damage == "folder":
        path.mkdir()
    else:
        path.write_bytes({"empty": b"", "text": b"no image", "truncated": content[: len(content) // 2]}[damage])
    code, table, errors = run(capsys, "-g", folders[0], "-s", folders[1])
    assert (code, table[0][2:4], len(errors)) == (1, ["3", f"{2 / 3:.4f}"], 1)
    assert errors[0].startswith("b_label.tiff: counted as 0: ")


def test_an_unreadable_truth_is_left_out_and_named(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (folders[0] / "b_label.tiff").write_bytes(b"no image")
    code, table, errors = run(capsys, "-g", folders[0], "-s", folders[1])
    assert (code, table[0][2:4], len(errors)) == (1, ["2", "1.0000"], 1)
    assert errors[0].startswith("b_label.tiff: left out, the truth cannot be read: ")


def test_a_prediction_without_truth_is_named_and_changes_nothing(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    before = run(capsys, "-g", folders[0], "-s", folders[1])
    write(folders[1] / "z_label.tiff", grid_of_cells(3))
    code, table, errors = run(capsys, "-g", folders[0], "-s", folders[1])
    assert (code, table) == before[:2]
    assert errors == ["z_label.tiff: not scored, there is no truth of this name"]


def test_predictions_named_in_full_or_up_to_the_first_dot_are_scored(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The truth c.dotted is named in full, the predictions are the other way round."""
    main(["-g", str(folders[0]), "-s", str(folders[1])])
    expected = capsys.readouterr()
    (folders[1] / "c.dotted_label.tiff").rename(folders[1] / "c_label.tiff")
    (folders[1] / "a_label.tiff").rename(folders[1] / "a.1.x_label.tiff")
    assert main(["-g", str(folders[0]), "-s", str(folders[1])]) == 0
    assert capsys.readouterr() == expected


def test_a_manifest_adds_a_row_for_each_modality(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(
        "split,source,modality,image,label\n"
        "val,one,phase-contrast,b.png,b_label.tiff\n"
        "val,two,fluorescence,a.png,val/labels/a_label.tiff\n"
        "train,two,brightfield,q.png,q_label.tiff\n"
    )
    assert read_modalities(manifest)["a_label.tiff"] == "fluorescence"
    output = tmp_path / "scores.csv"
    _, table, _ = run(capsys, "-g", folders[0], "-s", folders[1], "--manifest", manifest, "-o", output)
    assert [row[1:4] for row in table] == [
        ["fluorescence", "1", "1.0000"],
        ["phase-contrast", "1", "0.6667"],
        ["unlisted", "1", "1.0000"],
        ["all", "3", f"{8 / 9:.4f}"],
    ]
    assert [row["modality"] for row in read_rows(output)] == ["fluorescence", "phase-contrast", "unlisted"]


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (["fluorescence,a_label.tiff", "grey"], "line 3: the column label is empty"),
        (["fluorescence,", "grey,b_label.tiff"], "line 2: the column label is empty"),
        (["fluorescence,a_label.tiff", "", " ,b_label.tiff"], "line 4: the column modality is empty"),
    ],
)
def test_an_empty_cell_of_the_manifest_is_named_by_its_line(
    folders: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    lines: list[str],
    complaint: str,
) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("\n".join(["modality,label", *lines]))
    with pytest.raises(ValueError, match=complaint):
        read_modalities(manifest)
    with pytest.raises(SystemExit, match="2"):
        run(capsys, "-g", folders[0], "-s", folders[1], "--manifest", manifest)
    assert complaint in capsys.readouterr().err


def test_a_threshold_given_twice_counts_once(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "scores.csv"
    _, table, _ = run(capsys, "-g", folders[0], "-s", folders[1], "--thresholds", 0.5, 0.8, "0.50", "-o", output)
    assert [row[:3] for row in table] == [["0.5", "all", "3"], ["0.8", "all", "3"]]
    assert len(read_rows(output)) == 6


@pytest.mark.parametrize("names", [("--gt_path", "--seg_path"), ("--gt-path", "--seg-path")])
def test_options_are_spelt_either_way(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str], names: tuple[str, str]
) -> None:
    expected = run(capsys, "-g", folders[0], "-s", folders[1])
    assert run(capsys, names[0], folders[0], names[1], folders[1]) == expected


def test_help_names_the_columns_of_the_manifest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "needs the columns label (name of a true file) and modality" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-g", "nowhere", "-s", "{prediction}"], "nowhere is not a folder"),
        (["-g", "{truth}", "-s", "nowhere"], "nowhere is not a folder"),
        (["-g", "{empty}", "-s", "{prediction}"], "has no file *_label.tiff"),
        (["-g", "{truth}", "-s", "{prediction}", "--thresholds", "0"], "lies in (0, 1], got 0"),
        (["-g", "{truth}", "-s", "{prediction}", "--thresholds", "50"], "lies in (0, 1], got 50"),
        (["-g", "{truth}", "-s", "{prediction}", "--thresholds", "abc"], "lies in (0, 1], got abc"),
        (["-g", "{truth}", "-s", "{prediction}", "-o", "{empty}"], "is a folder; -o names the CSV file to write"),
        (["-g", "{truth}", "-s", "{prediction}", "--manifest", "{manifest}"], "no column modality"),
        (["-g", "{truth}", "-s", "{prediction}", "--manifest", "nowhere.csv"], "nowhere.csv"),
        (["-g", "{truth}", "-s", "{prediction}", "-o", "nowhere/a.csv"], "nowhere is not a folder"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    folders: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "manifest.csv").write_text("label,image\n")
    places = {"truth": folders[0], "prediction": folders[1]}
    places |= {"empty": tmp_path / "empty", "manifest": tmp_path / "manifest.csv"}
    with pytest.raises(SystemExit, match="2"):
        main([argument.format(**places) for argument in arguments])
    assert message in capsys.readouterr().err


def test_the_module_runs_as_a_command(folders: tuple[Path, Path]) -> None:
    command = [sys.executable, "-m", "evaluation.score", "-g", str(folders[0]), "-s", str(folders[1])]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "| 0.5 | all | 3 | 0.8889 |" in finished.stdout
