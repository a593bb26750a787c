"""``gradviz run``: a PyTorch program as it is, recorded step by step."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import gradviz
from gradviz.cli import main

TRAIN = """
import argparse, sys
import torch
from torch import nn
from torch.nn import functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=4)
given = parser.parse_args()
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
x = torch.randn(8, 3)
y = x.sum(1, keepdim=True)
for step in range(given.steps):
    optimizer.zero_grad()
    loss = F.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        print(step, loss.item(), float((model(x) - y).abs().max()))
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text, name="train.py"):
        (tmp_path / name).write_text(textwrap.dedent(text))
        return name

    return write


def test_every_training_step_is_a_row(program, capsys):
    assert main(["run", program(TRAIN), "--steps", "5"]) == 0
    told = capsys.readouterr()
    assert "gradviz: 5 steps in runs/train" in told.err
    run = gradviz.open_run("runs/train")
    printed = [line.split()[1] for line in told.out.splitlines()]
    assert [repr(loss) for loss in run.loss.tolist()] == printed
    assert run.names == ("0.weight", "0.bias", "2.weight", "2.bias")
    assert len(run.graphs) == 1
    frame = run.frame(2)
    assert frame.meta["replay"] == "exact"
    assert frame.graph["loss"].source.file == "train.py"
    assert frame.grad("0.weight").shape == (5, 3)
    assert [event["optimizer"] for event in run.events if event["kind"] == "optimizer"] == ["Adam"]
    assert run.meta["script"] == "train.py"


def test_the_program_computes_what_it_would(program, capsys):
    name = program(TRAIN)
    plain = subprocess.run([sys.executable, name], check=True, capture_output=True, text=True).stdout
    assert main(["run", "-o", "out", name]) == 0
    assert capsys.readouterr().out == plain
    assert len(gradviz.open_run("out")) == 4


def test_plain_tensors_and_updates_by_hand(program):
    name = program("""
        import torch
        w, b = torch.zeros(2, requires_grad=True), torch.zeros((), requires_grad=True)
        x = torch.arange(6.0).reshape(3, 2)
        y = x @ torch.tensor([1.0, -1.0]) + 2
        for _ in range(6):
            loss = ((x @ w + b - y) ** 2).mean()
            loss.backward()
            with torch.no_grad():
                for p in (w, b):
                    p -= 0.02 * p.grad
                    p.grad = None
    """)
    assert main(["run", name]) == 0
    run = gradviz.open_run("runs/train")
    assert len(run) == 6
    assert set(run.names) == {"w", "b"}
    assert run["b"].value[0] == 0
    assert np.allclose(run["w"].value[1], run["w"].value[0] - 0.02 * run["w"].grad[0])


def test_two_optimizers_take_turns(program):
    name = program("""
        import torch
        from torch import nn
        torch.manual_seed(0)
        generator, critic = nn.Linear(2, 2), nn.Linear(2, 1)
        first = torch.optim.SGD(generator.parameters(), lr=0.1)
        second = torch.optim.Adam(critic.parameters(), lr=0.01)
        for _ in range(3):
            noise = torch.randn(4, 2)
            second.zero_grad()
            loss = critic(generator(noise).detach()).mean() - critic(torch.ones(4, 2)).mean()
            loss.backward()
            second.step()
            first.zero_grad()
            loss = -critic(generator(noise)).mean()
            loss.backward()
            first.step()
    """)
    assert main(["run", name]) == 0
    run = gradviz.open_run("runs/train")
    assert len(run) == 6
    assert [len(graph) for graph in run.graphs] == [len(run.frame(0).graph), len(run.frame(1).graph)]
    assert len({graph.fingerprint() for graph in run.graphs}) == 2


def test_a_program_that_fails_keeps_its_steps_and_says_where(program, capsys):
    name = program(TRAIN + "\nraise RuntimeError('out of data')\n")
    assert main(["run", name]) == 1
    told = capsys.readouterr().err
    assert "train.py failed: RuntimeError: out of data" in told
    assert "train.py:23 in <module>" in told
    assert "Traceback" not in told
    run = gradviz.open_run("runs/train")
    assert len(run) == 4
    assert run.events[-1]["error"] == "RuntimeError"


def test_exit_status_and_nothing_to_record(program, capsys):
    assert main(["run", program("import torch, sys\nsys.exit(3)")]) == 3
    assert "called no backward(): nothing was recorded" in capsys.readouterr().err
    assert main(["run", program("raise SystemExit('no such data')")]) == 1
    assert "no such data" in capsys.readouterr().err
    assert main(["run", "missing.py"]) == 2
    assert "there is no script" in capsys.readouterr().err
    assert main(["run", program("def broken(:", "bad.py")]) == 1
    assert "SyntaxError" in capsys.readouterr().err


def test_the_program_goes_on_where_recording_fails(program, capsys, monkeypatch):
    from gradviz.tracing import store

    name = program(TRAIN)
    whole = store.RowFile.append
    rows = []

    def full(self, *args):
        rows.append(1)
        if len(rows) > 2:
            raise OSError(28, "No space left on device")
        return whole(self, *args)

    monkeypatch.setattr(store.RowFile, "append", full)
    monkeypatch.setattr(store.RowFile, "append_parts", full)
    assert main(["run", name, "--steps", "6"]) == 0
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 6
    assert "recording ended after 2 steps, the program went on:" in told.err
    assert "No space left on device" in told.err
    assert torch.overrides._get_current_function_mode_stack() == []
    assert len(gradviz.open_run("runs/train")) == 2


def test_an_older_run_is_renamed(program):
    name = program(TRAIN)
    assert main(["run", name, "--steps", "2"]) == 0
    assert main(["run", name, "--steps", "3"]) == 0
    assert [len(gradviz.open_run(path)) for path in ("runs/train", "runs/train.1")] == [3, 2]


def test_nothing_is_left_behind(program):
    call, apply = torch.nn.Module.__call__, torch.autograd.Function.__dict__["apply"]
    assert main(["run", program(TRAIN)]) == 0
    assert torch.overrides._get_current_function_mode_stack() == []
    assert torch.nn.Module.__call__ is call
    assert torch.autograd.Function.__dict__["apply"] is apply


def test_a_compiled_model_a_scheduler_and_workers(program):
    name = program("""
        import torch
        from torch import nn
        from torch.utils.data import DataLoader, TensorDataset

        torch.manual_seed(0)
        data = TensorDataset(torch.randn(12, 4), torch.randint(0, 2, (12,)))
        model = torch.compile(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), backend="eager")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
        criterion = nn.CrossEntropyLoss()
        for epoch in range(2):
            for x, y in DataLoader(data, batch_size=6, num_workers=1):
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
            scheduler.step()
    """)
    assert main(["run", name]) == 0
    run = gradviz.open_run("runs/train")
    assert len(run) == 4
    assert run.names == ("0.weight", "0.bias", "2.weight", "2.bias")
    rates = [event["options"]["lr"] for event in run.events if event["kind"] == "optimizer"]
    assert rates == [0.5, 0.25]
    assert run.frame(0).graph["loss"].scope == ("CrossEntropyLoss",)


@pytest.mark.parametrize("level", ["full", "stats", "scalars"])
def test_levels(program, level):
    assert main(["run", "--level", level, program(TRAIN)]) == 0
    run = gradviz.open_run("runs/train")
    assert len(run) == 4
    assert (run.frame(1).value("0.weight") is not None) == (level == "full")


def test_a_killed_program_loses_no_step(tmp_path):
    endless = TRAIN.replace("range(given.steps)", "__import__('itertools').count()")
    (tmp_path / "train.py").write_text(endless.replace("print(step,", "print(step, flush=True) or (0,"))
    line = [sys.executable, "-m", "gradviz", "run", "train.py"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(Path.cwd()), *sys.path]))}
    last = -1
    end = time.monotonic() + 60
    with subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=environment) as process:
        while last < 20 and time.monotonic() < end and (told := process.stdout.readline()):
            last = int(told)
        process.kill()
    assert last == 20
    run = gradviz.open_run(tmp_path / "runs" / "train")
    assert len(run) > last
    assert run.damage == []
    assert np.isfinite(run.loss).all()


def test_two_processes_of_a_launcher_write_a_run_each(program):
    name = program(TRAIN)
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*line, "-m", "gradviz", "run", name], check=True, capture_output=True, timeout=120, env=environment)
    runs = gradviz.open_runs("runs/train")
    assert [len(member.opened) for member in runs.members] == [4, 4]
