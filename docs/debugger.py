"""Writes docs/debugger.md: how to debug with the prompt; its session is run, its tables are those of the commands.

python docs/debugger.py            write the page
python docs/debugger.py --check    compare it with what is committed; exit 1 on a difference
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from itertools import groupby
from pathlib import Path

from gradviz.debugger.commands import Command, all_commands, command_named
from gradviz.debugger.commands.shell import GROUPS

PAGE = Path(__file__).with_name("debugger.md")
TITLES = {
    "moving": "Moving",
    "breakpoints": "Breakpoints",
    "reading": "Reading",
    "asking": "Asking",
    "pictures": "Pictures",
    "prompt": "The prompt itself",
}
SCRIPT = """\
import numpy as np

import gradviz
from gradviz import Tensor

hours = np.array([0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0])
passed = np.array([0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0])

w, b = Tensor(0.0, name="w"), Tensor(0.0, name="b")
with gradviz.trace("runs/exam", params={"w": w, "b": b}) as log, np.errstate(all="ignore"):
    for step in range(40):
        p = 1 / (1 + np.exp(-(w * hours + b)))
        loss = -np.mean(passed * np.log(p) + (1 - passed) * np.log(1 - p))
        loss.backward()
        log.step(loss)
        for parameter in (w, b):
            parameter.data = parameter.data - 20.0 * parameter.grad
            parameter.zero_grad()
"""
COMMANDS = """\
first isnan(loss)
blame
l
p hours[3], passed[3], p[3]
li log_2 2
watch w
rc
why w -samples -k 3
whatif lr = 2 for 10
draw update.svg
q
"""
TORCH = """\
import torch
from torch import nn

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
x = torch.tensor([[1.0, 0.5], [-1.0, 2.0], [0.5, -1.5], [3.0, 1.0]])
y = torch.tensor([0, 1, 1, 0])
optimizer = torch.optim.SGD(net.parameters(), lr=100.0)
for step in range(20):
    optimizer.zero_grad()
    scores = net(x)
    p = scores.exp() / scores.exp().sum(1, keepdim=True)
    loss = -torch.log(p[torch.arange(4), y]).mean()
    loss.backward()
    optimizer.step()
"""
TORCH_COMMANDS = """\
blame
watch 2.bias
rc
why 2.bias -samples -k 2
p net.2.bias, step
q
"""
TEXT = """\
# The debugger

Written by `python docs/debugger.py`, which runs the session below and lists the commands; a test compares it.

The debugger walks through a computation one operation at a time, forwards and **backwards**: through the values, the
gradients, the updates of the parameters, and from iteration to iteration. It answers why a gradient is what it is,
where a NaN was born, and what had happened with another value. It is a prompt with the habits of pdb.

```sh
gradviz debug runs/line                 # a recorded run
gradviz debug runs/line:17.b.3          # at a position
gradviz debug train.py -- --epochs 3    # run a script, then its scalar with the largest graph
gradviz debug train.py:loss             # ... or the object of that name
```

If the script fails, the prompt opens on the Tensors where it did. `gradviz.debug(loss)`, `gradviz.breakpoint()` and
`gradviz.debugging()` open it in a [running program](live.md), [editors](editors.md) show the same, and
[finding faults](finding-faults.md) is about `blame`.

## Where one stands

The position `17.b.3` is iteration 17, its backward pass, event 3. Every event has *just happened*: values that are
still to come are shown as `...`. The phases are

| | an event is |
| --- | --- |
| `f` forward | the value of one node, leaves included |
| `b` backward | one node sends its gradient to its inputs, each share with its numbers; that of a leaf is complete |
| `u` update | one parameter changes; of the last iteration of a run it is not known |

Going back undoes an event exactly, and `j 17.b.3` takes no longer than `s`: nothing is run again, except that numbers
which were not recorded are computed again and compared, bit for bit, with what was.

## A session

Somebody fits whether students pass an exam to the hours they have worked:

```py
{script}```

The loss soon is NaN. `gradviz debug runs/exam`:

```text
{session}```

The first `nan` is in iteration 3. `blame` names the operation, the line and the operand: `1 - p` is exactly 0, and in
the sum `0 * log(0)` is NaN. `p` was that close to 1 because the update before, to which `watch` and `rc` went back,
took `w` from {before} to {after}. `why` tells which samples are behind that gradient, and `whatif` that with a
learning rate of 2 nothing of this happens. The recorded run was not touched.

## Commands

A command can be shortened to what only it begins with. Enter repeats one that moves or lists, `;;` separates several,
and what is no command but an expression of known names is printed. `h COMMAND` tells more about each of them.

{tables}
### Where to stop

{where}

### Expressions

{expressions}

They are worked out by walking their syntax: only what is listed can be written, and nothing is ever executed, least of
all something from a trace. For the same reason `! statement` is refused.

## In files, pipes and notebooks

```sh
gradviz debug runs/exam -c blame -c "why w -paths"    # commands
gradviz debug runs/exam -x commands.txt               # a file of commands
echo "first isnan(loss)" | gradviz debug runs/exam
```

At a terminal the prompt opens after them, unless one was `q`. Elsewhere every command is written before what it says,
so that the whole can be read as a transcript. The exit status is 1 if a command could not be carried out or the script
failed, 2 for a wrong command line. Colours are only for a terminal, and not with `NO_COLOR`. In a notebook the
prompt asks in the cell, and `draw` shows the picture there.

## From Python

Every verb is a method of `gradviz.Debugger` that returns an object; what the prompt shows is its text.

```python
import gradviz

w = gradviz.Tensor(3.0, name="w")
d = gradviz.Debugger((w * 0.5 - 1.0) ** 2)
assert str(d.step(2)) == "0.f.2" and d["mul_1"].value == 1.5
assert str(d.run(until="norm(w.grad) > 0")) == "0.b.3" and d["w"].grad == 0.5
assert str(d.back(2)) == "0.b.1" and d["w"].grad is None
assert [term.value for term in d.why("w")] == [0.5]
assert d.whatif(w=2.0).losses == ((0.25, 0.0),)
assert d.diff("b.0", "b.1").backward[0].a.name == "mul_1"
```

`seek` and `it`, `break_at`, `watch`, `last`, `first`, `blame`, `check` and `draw` work the same way. What `whatif`
returns has a `debugger`, which steps through what had happened. The updates are made by the rule of the training: an
optimizer of `gradviz.optim`, with its options and its state, or `w - lr * gradient` written out in the loop. A rule is
used only if it gives, of the recorded numbers, those of the next iteration to the last bit.

## Programs of PyTorch

Nothing has to be changed in a script of PyTorch. `gradviz debug train.py` runs it, records every step, as many as fit
into 1 GB, and opens the prompt at the last:

```py
{torch_script}```

```text
{torch_session}```

The names are those of `named_parameters()`. Inside a program everything begins with a tensor, or with what
[`gradviz.capture`](recipes.md) has recorded:

- `gradviz.Debugger(loss)`, `debug(loss)` and `steps(loss)`, before `backward()`: the values that PyTorch keeps, or that
  can be worked out, and the gradient of every node; no source lines.
- `gradviz.Debugger(cap)` after `with gradviz.capture(model) as cap:` has every step, value, gradient, update, module
  and line.
- `gradviz.Debugger(gradviz.open_run(path))`: what `gradviz.trace(path, model=model)` has recorded.
- `gradviz.breakpoint()` in a loop shows what a capture that is on has recorded; without one what is known after the
  fact, which after `backward()` is little.
- `with gradviz.debugging():` stops in your frame at the op, or the `backward()`, that makes a NaN or an infinity.
- `gradviz.post_mortem()` opens the tensors where a program failed.
- `assert_finite(cap)`, `assert_grads(cap)`, `assert_reaches("0.weight", "loss", cap)` and `assert_same(a, b)` are for
  tests, with a loss in place of `cap` too; `pytest --gradviz-blame` looks into those that fail.

```python
import gradviz
import torch


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 2 * x**2  # it should be 3


w = torch.tensor([0.5, 2.0], requires_grad=True)
with gradviz.capture() as cap:
    loss = Cube.apply(w).sum()
    loss.backward()
d = gradviz.Debugger(cap)
assert [mismatch.node.op for mismatch in d.check()] == ["Cube"]
assert d.blame().kind == "wrong"
assert d.whatif({{"w": 1.0}}).losses == ((8.125, 2.0),)
```

What an op sends to its operands is worked out by calling it again, on the CPU, with the recorded values and the random
numbers it had, and asking its own backward; the program notices nothing of it. `check` calls every op in double
precision, and compares its backward with finite differences along random directions; `blame` without a kind does so
only for functions of your own. An op with several results (`split`, `max(dim)`) has no number itself: each result is a
node, and gradients go through.

`whatif` gives other values within one iteration. What an optimizer of PyTorch did is not done again, so `whatif lr=0.1`
and `for N` are refused. A run that was read from its file has no functions to call: `whatif` and `check` need the
capture. Of a gradient that a hook changes, a capture shows what came out of the hook, a look after the fact what went
in.
"""


def page() -> str:
    """Return the page as it is now."""
    session = transcript("exam.py", SCRIPT, COMMANDS, "runs/exam")
    change = re.search(r"update 0: w = (\S+) -> ([^ ;]+);", session)
    if change is None:
        raise ValueError("the session does not lead to the update of w")
    return TEXT.format(
        script=SCRIPT,
        torch_script=TORCH,
        torch_session=transcript("", TORCH, TORCH_COMMANDS, "train.py"),
        session=session,
        before=change[1],
        after=change[2],
        tables="\n".join(tables()),
        where=fenced(command_named("break").details),
        expressions=fenced(command_named("print").details),
    )


def transcript(first: str, script: str, commands: str, target: str) -> str:
    """Run the script, if it is to be run first, and then the session."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, first or target).write_text(script, "utf-8")
        Path(folder, "commands").write_text(commands, "utf-8")
        for line in filter(None, (first, f"-m gradviz debug {target} -x commands")):
            done = subprocess.run(
                [sys.executable, *shlex.split(line)],
                cwd=folder,
                capture_output=True,
                encoding="utf-8",
                check=True,
                env={**os.environ, "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"},
            )
    return done.stdout


def tables() -> list[str]:
    """Return the commands, a table for each group."""
    ordered = sorted(all_commands(), key=lambda command: GROUPS.index(command.group))
    found = []
    for group, commands in groupby(ordered, key=lambda command: command.group):
        rows = "".join(map(row, commands))
        found.append(f"### {TITLES[group]}\n\n| command | also | |\n| --- | --- | --- |\n{rows}")
    return found


def row(command: Command) -> str:
    """Return a command as a row."""
    short = command.usage.split()[0]
    others = " ".join(f"`{name}`" for name in command.names if name != short)
    return f"| `{escaped(command.usage)}` | {others} | {escaped(command.summary)} |\n"


def escaped(text: str) -> str:
    """Return text for a cell of a table."""
    return text.replace("|", "\\|")


def fenced(text: str) -> str:
    """Return text that is shown as it is."""
    return f"```text\n{text.strip()}\n```"


def main() -> int:
    """Write the page, or compare it."""
    made = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(made, "utf-8")
        return 0
    if PAGE.read_text("utf-8") == made:
        return 0
    print("docs/debugger.md is not up to date: python docs/debugger.py")
    return 1


if __name__ == "__main__":
    sys.exit(main())
