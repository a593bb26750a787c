"""Reading runs: what was written, bit for bit, or a note that says what is damaged."""

import csv
import json
import os
import random
import struct

import numpy as np
import pytest

import gradviz
from gradviz.errors import GradvizError, GradvizTypeError, GradvizValueError, TraceError, UnknownNameError
from gradviz.graphs.plain import same_bits
from gradviz.tracing.reading import open_run
from gradviz.tracing.recorder import trace
from gradviz.tracing.segments import ranges
from gradviz.tracing.statistics import statistics
from gradviz.tracing.store import unsealed
from tests.params import Param


def write_line(path, steps=20, **options):
    """Write a run of a fitted line, and return what was recorded."""
    w, b = Param(0.0), Param(1.0)
    history = []
    with trace(path, params={"w": w, "b": b}, **options) as t:
        for i in range(steps):
            w.grad, b.grad = 0.1 * i, -0.2 * i
            t.step(1.0 / (i + 1))
            history.append((1.0 / (i + 1), w.data, w.grad, b.data, b.grad))
            w.data -= w.grad
            b.data -= b.grad
    return np.array(history)


def write_matrix(path, steps=6, rows=40):
    """Write a run whose rows are larger than a block."""
    rng = np.random.default_rng(0)
    W = Param(None)
    values, grads = [], []
    with trace(path, params={"W": W}) as t:
        for i in range(steps):
            W.data, W.grad = rng.standard_normal((rows, 30)), rng.standard_normal((rows, 30)).astype("f4")
            t.step(float(i))
            values.append(W.data)
            grads.append(W.grad)
    return np.array(values), np.array(grads)


def test_a_run_reads_back(tmp_path):
    history = write_line(tmp_path / "run", meta={"lr": 0.5, "note": "naïve"})
    run = open_run(tmp_path / "run")
    assert len(run) == 20
    assert run.names == ("w", "b")
    assert run.meta == {"lr": 0.5, "note": "naïve"}
    assert run.damage == []
    assert np.array_equal(run.steps, np.arange(20))
    assert (np.diff(run.times) >= 0).all()
    recorded = [run.loss, run["w"].value, run["w"].grad, run["b"].value, run["b"].grad]
    assert np.array_equal(np.array(recorded).T, history)
    assert not np.ma.isMaskedArray(run["w"].grad)
    assert repr(run).startswith(f"Run({str(tmp_path / 'run')!r}, 20 steps, loss 1 to 0.05")
    assert repr(run["w"]) == "History('w', 20 steps)"


def test_large_rows_read_back(tmp_path):
    values, grads = write_matrix(tmp_path / "run")
    run = open_run(tmp_path / "run")
    assert np.array_equal(run["W"].value, values)
    assert np.array_equal(run["W"].grad, grads)
    assert run["W"].grad.dtype == np.float32
    assert run.damage == []
    plain = np.load(tmp_path / "run" / "seg-0000.npy", mmap_mode="r")
    assert np.array_equal(plain["W"], values)
    assert np.array_equal(plain["W.grad"], grads)
    assert np.allclose(run["W"].norm, np.linalg.norm(values, axis=(1, 2)))


ODD_NUMBERS = [
    struct.unpack("<d", bytes.fromhex(text))[0]
    for text in ("010000000000f87f", "efbeaddeadbef8ff", "0000000000000080", "0100000000000000", "000000000000f07f")
]


@pytest.mark.parametrize("shape", [(), (3,), (600,)])
def test_odd_numbers_survive_to_the_bit(tmp_path, shape):
    w = Param(0.0, 0.0)
    with trace(tmp_path / "run", params={"w": w}) as t:
        for number in ODD_NUMBERS:
            w.data = w.grad = np.full(shape, number) if shape else number
            t.step(number)
    run = open_run(tmp_path / "run")
    expected = np.array([np.full(shape, number) for number in ODD_NUMBERS])
    assert same_bits(run["w"].value, expected)
    assert same_bits(run["w"].grad, expected)
    assert run.loss.tobytes() == np.array(ODD_NUMBERS).tobytes()
    assert run.damage == []


def test_steps_are_found_by_their_number(tmp_path):
    with trace(tmp_path / "run", params={}) as t:
        for step in (10, 20, 30):
            t.step(float(step), step=step)
        t.step(31.0)
    run = open_run(tmp_path / "run")
    assert run.steps.tolist() == [10, 20, 30, 31]
    assert run.frame(20).value("loss") == 20.0
    assert run.frame(20).step == 20
    assert run.frame(-1).step == 31
    assert run.frame(-4).step == 10
    for wrong in (0, 32, -5):
        with pytest.raises(UnknownNameError, match=r"4 steps, from 10 to 31"):
            run.frame(wrong)


def test_a_part_of_a_run_is_a_run(tmp_path):
    history = write_line(tmp_path / "run")
    part = open_run(tmp_path / "run")[5:15:2]
    assert part.steps.tolist() == [5, 7, 9, 11, 13]
    assert np.array_equal(part["w"].value, history[5:15:2, 1])
    assert part[-1:].frame(13).value("w") == history[13, 1]
    assert len(part[3:3]) == 0
    assert part[3:3].loss.shape == (0,)


def test_unknown_names_suggest_close_ones(tmp_path):
    write_line(tmp_path / "run")
    run = open_run(tmp_path / "run")
    with pytest.raises(UnknownNameError, match="'weight'"):
        run["weight"]
    with pytest.raises(UnknownNameError, match="did you mean b"):
        run["bb"]
    for wrong in (slice("a", "b"), slice(1.5), slice(None, None, 0)):
        with pytest.raises(GradvizTypeError, match=r"cannot be cut"):
            run[wrong]
    with pytest.raises(GradvizTypeError, match=r"run.frame\(17\)"):
        run[3]


def test_the_folder_of_runs_is_no_run(tmp_path):
    write_line(tmp_path / "runs" / "a")
    with pytest.raises(TraceError, match=r"there is one in .*a$"):
        open_run(tmp_path / "runs")


def test_no_gradient_is_not_zero(tmp_path):
    w = Param(1.0, None)
    W = Param(np.ones(2), None)
    with trace(tmp_path / "run", params={"w": w, "W": W}) as t:
        t.step(1.0)
        w.grad, W.grad = 0.0, np.zeros(2)
        t.step(1.0)
        w.grad = float("nan")
        t.step(1.0)
    run = open_run(tmp_path / "run")
    assert run["w"].grad.mask.tolist() == [True, False, False]
    assert run["w"].grad[1] == 0.0
    assert np.isnan(run["w"].grad.data[2])
    assert run["W"].grad.mask.tolist() == [[True, True], [False, False], [False, False]]
    assert run["W"].grad_norm.mask.tolist() == [True, False, False]
    assert [row["w.grad"] for row in run.to_rows()[:2]] == [None, 0.0]
    assert run.frame(0).grad("w") is None
    assert run.frame(1).grad("w") == 0.0
    assert len(list((tmp_path / "run").glob("seg-*"))) == 1


def test_rows_are_dicts(tmp_path):
    values, grads = write_matrix(tmp_path / "run", rows=2)
    rows = open_run(tmp_path / "run").to_rows()
    assert list(rows[3]) == ["step", "time", "loss", "W", "W.grad"]
    assert rows[3]["step"] == 3
    assert np.array_equal(rows[3]["W"], values[3])
    assert np.array_equal(rows[3]["W.grad"], grads[3])


def test_a_run_without_graphs_still_gives_frames(tmp_path):
    history = write_line(tmp_path / "run")
    frame = open_run(tmp_path / "run").frame(7)
    assert [node.name for node in frame.graph.nodes] == ["w", "b", "loss"]
    assert frame.value("loss") == history[7, 0]
    assert frame.grad("w") == history[7, 2]
    assert frame.meta["replay"] == "the loss had no graph, only numbers"
    assert open_run(tmp_path / "run").graph is None
    assert open_run(tmp_path / "run").graphs == ()


def test_an_empty_run(tmp_path):
    trace(tmp_path / "run", params={"w": Param(1.0)}).close()
    run = open_run(tmp_path / "run")
    assert len(run) == 0
    assert repr(run).endswith("empty)")
    assert run.loss.shape == run.steps.shape == run["w"].value.shape == (0,)
    assert run.to_rows() == []
    assert run.graph is None
    assert run.damage == []
    assert "w" in run.summary()
    assert run.export(tmp_path / "x.csv").read_text() == "step,time,loss\n"
    with pytest.raises(UnknownNameError, match="the run is empty"):
        run.frame(0)


def test_csv_reads_back_exactly(tmp_path):
    a, W = Param(0.1, 1e-300), Param(np.array([[1.5, -0.0]]), None)
    with trace(tmp_path / "run", params={'a,"b"': a, "W": W}) as t:
        t.step(1 / 3)
        W.grad = np.array([[1.0, 2.0]])
        t.step(2 / 3)
    path = open_run(tmp_path / "run").export(tmp_path / "x.csv")
    first, second = csv.DictReader(path.read_text().splitlines())
    names = ["step", "time", "loss", 'a,"b"', 'a,"b".grad', "W[0,0]", "W[0,1]", "W[0,0].grad", "W[0,1].grad"]
    assert list(first) == names
    assert [first[name] for name in names[2:]] == [repr(1 / 3), "0.1", "1e-300", "1.5", "-0.0", "", ""]
    assert second["W[0,1].grad"] == "2.0"


def test_exports_that_cannot_be(tmp_path):
    write_line(tmp_path / "run")
    run = open_run(tmp_path / "run")
    with pytest.raises(GradvizValueError, match=r"\.csv"):
        run.export(tmp_path / "x.xlsx")
    with pytest.raises(TraceError, match=r"cannot write x\.csv"):
        run.export(tmp_path / "missing" / "x.csv")
    assert not (tmp_path / "x.xlsx").exists()


def test_the_summary_says_what_is_there(tmp_path):
    write_line(tmp_path / "run", meta={"lr": 0.1})
    text = open_run(tmp_path / "run").summary()
    assert "steps     20 (0 to 19" in text
    assert "loss      1 to 0.05, least 0.05 at step 19" in text
    assert "lr = 0.1" in text
    assert "w = -17.1, gradient 1.9" in text
    with trace(tmp_path / "bad", params={}) as t:
        for loss in (1.0, float("inf"), float("nan")):
            t.step(loss)
    assert "not finite in 2 steps, first in step 1" in open_run(tmp_path / "bad").summary()


def test_what_is_no_run(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(TraceError, match="there is no run in"):
            open_run(path)
    write_line(tmp_path / "run")
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    from gradviz.tracing.store import sealed

    del info["checksum"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(sealed(info | {"version": 2})))
    with pytest.raises(TraceError, match="has format 2"):
        open_run(tmp_path / "run")


# -- damage ------------------------------------------------------------------------------------


def recorded_rows(path):
    """Return everything a run says, by step."""
    return {row["step"]: row for row in open_run(path)}


def check_damaged(path, truth, what):
    """A damaged run gives true rows and says what is wrong, or is refused with an error of ours."""
    try:
        run = open_run(path)
        rows = {row["step"]: row for row in run}
        damage = run.damage
    except GradvizError:
        return
    for step, row in rows.items():
        for key, number in row.items():
            assert number is None or same_bits(np.asarray(truth[step][key]), np.asarray(number)), what
    lost = [step for step in truth if step not in rows or any(value is None for value in rows[step].values())]
    assert damage or not lost, what


@pytest.mark.parametrize("write", [write_line, write_matrix])
def test_no_flipped_bit_gives_a_wrong_number(tmp_path, write):
    write(tmp_path / "run")
    truth = recorded_rows(tmp_path / "run")
    random_ = random.Random(0)
    files = sorted(path for path in (tmp_path / "run").iterdir() if path.name != "writer.lock")
    assert [path.name for path in files] == ["events.jsonl", "graphs.jsonl", "run.json", "seg-0000.npy"]
    for path in files:
        whole = path.read_bytes()
        header = range(min(len(whole), 320))
        for position in [*header, *random_.sample(range(len(whole)), 60)]:
            damaged = bytearray(whole)
            damaged[position] ^= 1 << random_.randrange(8)
            path.write_bytes(damaged)
            check_damaged(tmp_path / "run", truth, (path.name, position))
        path.write_bytes(whole)
    check_damaged(tmp_path / "run", truth, "whole")


def test_a_damaged_row_is_skipped_and_named(tmp_path):
    history = write_line(tmp_path / "run")
    path = tmp_path / "run" / "seg-0000.npy"
    data = bytearray(path.read_bytes())
    for row in (3, 7, 8):
        data[len(data) - 64 * (20 - row) + 40] ^= 1
    path.write_bytes(data)
    run = open_run(tmp_path / "run")
    assert run.damage == ["seg-0000.npy: rows 3, 7-8 do not match their checksums and are skipped"]
    assert len(run) == 17
    assert np.array_equal(run["w"].value, np.delete(history[:, 1], [3, 7, 8]))
    assert run.frame(9).value("w") == history[9, 1]
    with pytest.raises(UnknownNameError, match="there is no step 3"):
        run.frame(3)


def test_a_damaged_array_is_masked_and_named(tmp_path):
    values, grads = write_matrix(tmp_path / "run")
    path = tmp_path / "run" / "seg-0000.npy"
    data = bytearray(path.read_bytes())
    start = data.index(values[2].tobytes())
    data[start + 777] ^= 64
    path.write_bytes(data)
    run = open_run(tmp_path / "run")
    assert len(run) == 6
    value = run["W"].value
    assert value.mask.any(axis=(1, 2)).tolist() == [i == 2 for i in range(6)]
    assert np.array_equal(value[3], values[3])
    assert np.array_equal(run["W"].grad, grads)
    assert run.damage == ["seg-0000.npy: value of 'W' in row 2 does not match its checksum"]
    assert run.frame(2).value("W") is None
    assert np.array_equal(run.frame(2).grad("W"), grads[2])
    assert open_run(tmp_path / "run").damage == run.damage


@pytest.mark.parametrize("write", [write_line, write_matrix])
def test_cut_anywhere(tmp_path, write):
    write(tmp_path / "run")
    truth = recorded_rows(tmp_path / "run")
    for name in ("seg-0000.npy", "graphs.jsonl", "events.jsonl", "run.json"):
        path = tmp_path / "run" / name
        whole = path.read_bytes()
        for length in range(0, len(whole), max(1, len(whole) // 150)):
            path.write_bytes(whole[:length])
            check_damaged(tmp_path / "run", truth, (name, length))
        path.write_bytes(whole)


def test_a_cut_file_keeps_its_front(tmp_path):
    history = write_line(tmp_path / "run")
    path = tmp_path / "run" / "seg-0000.npy"
    path.write_bytes(path.read_bytes()[: -64 * 5 - 1])
    run = open_run(tmp_path / "run")
    assert np.array_equal(run.loss, history[:14, 0])
    assert run.damage == [
        "events.jsonl: the run was closed after 20 steps, the segments hold 14",
        "seg-0000.npy: the header counts 20 rows, the file holds 14",
    ]


def test_a_destroyed_header_is_made_up_for(tmp_path):
    history = write_line(tmp_path / "run")
    path = tmp_path / "run" / "seg-0000.npy"
    whole = path.read_bytes()
    path.write_bytes(bytes(200) + whole[200:])
    run = open_run(tmp_path / "run")
    assert np.array_equal(run["b"].grad, history[:, 4])
    assert len(run.damage) == 2
    path.write_bytes(whole)
    (tmp_path / "run" / "graphs.jsonl").unlink()
    assert np.array_equal(open_run(tmp_path / "run")["b"].grad, history[:, 4])


def test_absurd_headers_are_refused_before_anything_is_allocated(tmp_path):
    write_line(tmp_path / "run")
    path = tmp_path / "run" / "seg-0000.npy"
    whole = path.read_bytes()
    (tmp_path / "run" / "graphs.jsonl").unlink()
    for header in (
        b"\x93NUMPY\x03\x00" + struct.pack("<I", 2**31),
        b"\x93NUMPY\x01\x00" + struct.pack("<H", 60000) + b"[" * 60000,
        b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"(" * 9000,
        b"\x93NUMPY\x01\x00\xb6\x00" + b"{'shape': (9,), 'fortran_order': False, 'descr': [('w', '|O')]}".ljust(182),
        b"\x93NUMPY\x01\x00\xb6\x00" + b"{'descr': [('w', '<f8', (99999999999,))]}".ljust(182),
        b"\x93NUMPY\x09\x00",
        b"",
    ):
        path.write_bytes(header)
        with pytest.raises(TraceError, match="can be read"):
            open_run(tmp_path / "run")
    path.write_bytes(whole[:32] + b"9999999999999999" + whole[48:])
    run = open_run(tmp_path / "run")
    assert len(run) == 20
    assert run.damage == [
        "graphs.jsonl: no intact line tells of segment 0",
        "seg-0000.npy: the header counts 9999999999999999 rows, the file holds 20",
    ]


def test_files_that_are_none(tmp_path):
    write_line(tmp_path / "run")
    path = tmp_path / "run" / "seg-0000.npy"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(TraceError, match="can be read"):
        open_run(tmp_path / "run")
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(TraceError, match="can be read"):
        open_run(tmp_path / "run")
    path.unlink()
    (tmp_path / "run" / "graphs.jsonl").unlink()
    (tmp_path / "run" / "graphs.jsonl").symlink_to("/etc/passwd")
    with pytest.raises(TraceError, match=r"cannot open graphs\.jsonl"):
        open_run(tmp_path / "run")


def test_ranges():
    assert ranges(np.array([], int)) == ""
    assert ranges(np.arange(0, 60, 2)).endswith("18, ... (30 in all)")


def test_hostile_names_do_not_reach_the_terminal(tmp_path):
    name = "\x1b]0;gotcha\x07\n<script>"
    with trace(tmp_path / "run", params={name: Param(1.0, 2.0)}, meta={name: name}) as t:
        t.step(1.0)
    run = open_run(tmp_path / "run")
    for text in (repr(run), repr(run[name]), run.summary()):
        assert "\x1b" not in text
        assert "\x07" not in text
        assert "gotcha" in text
    assert len(run.summary().splitlines()) == 5


# -- parts -------------------------------------------------------------------------------------


def write_layers(path, steps=8):
    """Write a run with parameters in scopes, counted from step 100."""
    names = ["enc.W", "enc.b", "dec.W", "layers[0].w", "layers[1].w", "a*"]
    params = {name: Param(float(i), -float(i)) for i, name in enumerate(names)}
    with trace(path, params=params) as t:
        for step in range(steps):
            params["enc.W"].data = float(step)
            t.step(float(step), step=100 + step)
    return open_run(path)


def test_names_may_be_patterns(tmp_path):
    run = write_layers(tmp_path / "run")
    part = run["enc.*"]
    assert part.names == ("enc.W", "enc.b")
    assert list(part.to_rows()[3]) == ["step", "time", "loss", "enc.W", "enc.W.grad", "enc.b", "enc.b.grad"]
    assert part["enc.W"].value.tolist() == list(map(float, range(8)))
    assert run["layers[*].w"].names == ("layers[0].w", "layers[1].w")
    assert run["layers[0].*"].names == ("layers[0].w",)
    assert run["layers[0].w"].value[0] == 3.0
    assert run["a*"].value[0] == 5.0
    assert run["*.[Wb]"].names == ("enc.W", "enc.b", "dec.W")
    assert run.select("dec.*", "enc.b").names == ("enc.b", "dec.W")
    assert run["*.W"].select("enc.*").names == ("enc.W",)
    assert part.export(tmp_path / "x.csv").read_text().splitlines()[0].endswith("enc.W,enc.W.grad,enc.b,enc.b.grad")
    assert part.frame(103).value("dec.W") == 2.0
    with pytest.raises(UnknownNameError, match="did you mean enc"):
        part["dec.W"]
    with pytest.raises(UnknownNameError, match=r"no parameter matches 'encc\.\*'"):
        run["encc.*"]
    with pytest.raises(GradvizTypeError, match="a pattern is a text, not a int"):
        run.select(3)


def test_steps_may_be_given_by_position_and_by_number(tmp_path):
    run = write_layers(tmp_path / "run")
    assert run.between(102, 104).steps.tolist() == [102, 103, 104]
    assert run.between(106).steps.tolist() == [106, 107]
    assert run.between(last=101)["enc.W"].value.tolist() == [0.0, 1.0]
    assert len(run.between(50, 60)) == 0
    part = run[2:5, "enc.*"]
    assert (part.names, part.steps.tolist()) == (("enc.W", "enc.b"), [102, 103, 104])
    assert run[2:5, "enc.W"].value.tolist() == [2.0, 3.0, 4.0]
    assert part[1:].between(104).steps.tolist() == [104]
    assert [frame.step for frame in part.frames()] == [102, 103, 104]
    assert [frame.step for frame in run.frames([107, 100])] == [107, 100]
    with pytest.raises(GradvizTypeError, match="a step is a whole number"):
        run.between("a")
    with pytest.raises(GradvizTypeError, match="indexed by a name or a slice"):
        run["enc.*", 2:5]


def test_the_runs_of_several_processes_are_told_apart(tmp_path):
    for rank in range(3):
        write_line(tmp_path / "run", rank=rank, world_size=3)
    with pytest.raises(TraceError, match=r"holds the runs of 3 processes: gradviz\.open_runs\("):
        open_run(tmp_path / "run")
    assert len(open_run(tmp_path / "run" / "rank-002")) == 20
    assert open_run(tmp_path / "run" / "rank-002").info["rank"] == 2


def test_events_are_read_and_damaged_ones_named(tmp_path):
    w = Param(1.0, 2.0)
    with trace(tmp_path / "run", params={"w": w}) as t:
        t.step(1.0)
        t.note("a remark", lr=0.5)
        t.step(1.0)
        t.event("milestone", "done \x1b[31m")
    events = open_run(tmp_path / "run").events
    assert [event["kind"] for event in events][-3:] == ["note", "milestone", "end"]
    note = next(event for event in events if event["kind"] == "note")
    assert (note["step"], note["text"], note["lr"]) == (0, "a remark", 0.5)
    assert "checksum" not in note
    path = tmp_path / "run" / "events.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    place = next(i for i, line in enumerate(lines) if "a remark" in line)
    lines[place] = lines[place].replace("a remark", "A remark")
    path.write_text("".join(lines))
    run = open_run(tmp_path / "run")
    assert run.damage == [f"events.jsonl: line {place + 1} is damaged"]
    assert len(run.events) == len(events) - 1
    path.write_text("".join(lines)[:-4])
    assert open_run(tmp_path / "run").damage[-1] == f"events.jsonl: line {len(lines)} is damaged"


@pytest.mark.parametrize("names", [("w.grad",), ("a", "a.norm"), ("p1", "x y"), ("float64",), ("w.input",)])
def test_names_that_look_like_parts_are_not_mistaken(tmp_path, names):
    params = {name: Param(float(i), -float(i)) for i, name in enumerate(names)}
    with trace(tmp_path / "run", params=params) as t:
        t.step(1.0)
        t.step(1.0)
    run = open_run(tmp_path / "run")
    assert run.names == names
    assert run.inputs == ()
    assert [run[name].grad[1] for name in names] == [-float(i) for i in range(len(names))]


def test_a_flipped_bit_in_a_name_of_the_header_changes_no_name(tmp_path):
    history = write_line(tmp_path / "run")
    path = tmp_path / "run" / "seg-0000.npy"
    data = bytearray(path.read_bytes())
    for field in (b"'w'", b"'w.grad'"):
        data[data.index(field) + 1] ^= 1
    path.write_bytes(data)
    run = open_run(tmp_path / "run")
    assert run.names == ("w", "b")
    assert np.array_equal(run["w"].grad, history[:, 2])
    assert run.damage == ["seg-0000.npy: the header is damaged; the columns listed in graphs.jsonl were used"]


def test_graphs_are_read_when_they_are_asked_for(tmp_path, monkeypatch):
    """Hundreds of structures are opened without reading one of their graphs."""
    w = gradviz.Tensor(2.0, name="w")
    with trace(tmp_path / "run", params={"w": w}) as t:
        for depth in range(150):
            w.zero_grad()
            loss = w * 1.0
            for _ in range(depth):
                loss = loss + w
            loss.backward()
            t.step(loss)
    read = []
    monkeypatch.setattr("gradviz.tracing.records.unsealed", lambda text: read.append(1) or unsealed(text))
    run = open_run(tmp_path / "run")
    assert len(run.structures) == len(run) == 150
    assert run["w"].value.tolist() == [2.0] * 150
    assert len(read) == len(run.events)
    assert len(run.graph) == 152
    assert len(read) == len(run.events) + 1
    assert run.damage == []
    assert len(read) >= len(run.events) + 150


def test_norms_and_statistics_of_numbers(tmp_path):
    w = Param(0.0)
    with trace(tmp_path / "run", params={"w": w}) as t:
        for number in ODD_NUMBERS:
            w.data = number
            t.step(1.0)
    history = open_run(tmp_path / "run")["w"]
    expected = [tuple(statistics(np.array(number))[0]) for number in ODD_NUMBERS]
    np.testing.assert_array_equal(history.stats.view(float).reshape(-1, 7), np.array(expected))
    np.testing.assert_array_equal(history.norm, np.abs(np.array(ODD_NUMBERS)))
    assert history.grad_stats["min"].mask.all()
    assert history.grad_exponents.mask.all()
    assert history.exponents.sum(axis=1).tolist() == [0, 0, 0, 1, 0]


def test_a_history_has_a_limit(tmp_path, monkeypatch):
    write_matrix(tmp_path / "run")
    w = Param(np.zeros(3), None)
    with trace(tmp_path / "gaps", params={"w": w}) as t:
        for _ in range(5):
            t.step(1.0)
    monkeypatch.setattr("gradviz.tracing.history.HISTORY_LIMIT", 100)
    with pytest.raises(GradvizValueError, match=r"the history of 'w' has 120 bytes: the limit is 100"):
        open_run(tmp_path / "gaps")["w"].grad
