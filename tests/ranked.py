"""One process of several that train together: ``python -m tests.ranked FOLDER SCENARIO...``, started as torchrun does.

Each scenario trains a small network under DistributedDataParallel (gloo, on the CPU) with one fault planted, and traces
into a folder of its name. Rank and world size come from the environment.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

STEPS = 12
FAULT = 7


def launch(folder, *scenarios, world=2, timeout=60.0, grace=None, env=None):
    """Start the processes, and return what each said and its status; with ``grace`` the others are killed after one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    around = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world),
              "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **(env or {})}  # fmt: skip
    line = [sys.executable, "-W", "error::RuntimeWarning", "-m", "tests.ranked", str(folder), *scenarios]
    logs = [Path(f"{folder}-{rank}.log") for rank in range(world)]
    started = []
    for rank, log in enumerate(logs):
        with log.open("w") as file:
            started.append(subprocess.Popen(
                line, env={**around, "RANK": str(rank), "LOCAL_RANK": str(rank)}, stdout=file, stderr=subprocess.STDOUT
            ))  # fmt: skip
    end = time.monotonic() + timeout
    while any(one.poll() is None for one in started) and time.monotonic() < end:
        if grace is not None and any(one.poll() is not None for one in started):
            end, grace = min(end, time.monotonic() + grace), None
        time.sleep(0.05)
    late = [rank for rank, one in enumerate(started) if one.poll() is None]
    for one in started:
        one.kill()
        one.wait()
    return [one.returncode for one in started], [log.read_text("utf-8") for log in logs], late


def main(folder, *scenarios):
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    for name in scenarios:
        torch.manual_seed(0)
        SCENARIOS[name](Path(folder) / name, dist.get_rank())
        dist.barrier()
    dist.destroy_process_group()


def network(width=8):
    import torch

    return torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.Tanh(), torch.nn.Linear(width, 1))


def batches(rank, steps=STEPS):
    """Yield batches of this rank's own."""
    import torch

    own = np.random.default_rng(100 + rank)
    for _ in range(steps):
        x = own.normal(size=(6, 4)).astype(np.float32)
        yield torch.from_numpy(x), torch.from_numpy(x.sum(axis=1, keepdims=True))


def train(path, rank, *, at=None, batch=None, loss=None, steps=STEPS, traces=True, watched=False, net=None, **options):
    """Train under DDP, and trace; ``at`` runs before a step, ``batch`` changes what it gets, ``loss`` computes it."""
    import contextlib

    import torch
    from torch.nn.parallel import DistributedDataParallel

    import gradviz

    model = DistributedDataParallel(net or network())
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4 if net else 0.1)
    given = {"model": model, "optimizer": optimizer} if watched else {"params": dict(model.named_parameters())}
    log = gradviz.trace(path, **given, **options) if traces else contextlib.nullcontext()
    with log:
        for step, given_batch in enumerate(batches(rank, steps)):
            if at is not None:
                at(step, model)
            x, y = batch(step, *given_batch) if batch else given_batch
            optimizer.zero_grad()
            value = loss(step, model, x, y) if loss else (model(x) - y).square().mean()
            value.backward()
            if traces:
                log.step(value)
            optimizer.step()


def sound(path, rank, **options):
    train(path, rank, **options)


def nudged(path, rank, by=1e-6, **options):
    """Add a little to one weight on rank 1."""

    def at(step, model):
        if rank == 1 and step == FAULT:
            model.module[2].weight.data[0, 3] += by

    train(path, rank, at=at, **options)


def poisoned(path, rank, **options):
    """Put a NaN into one batch of rank 1."""

    def batch(step, x, y):
        if rank == 1 and step == FAULT:
            x.numpy()[2, 1] = float("nan")
        return x, y

    train(path, rank, batch=batch, **options)


def branching(path, rank, **options):
    """Compute one more op on rank 1."""

    def loss(step, model, x, y):
        out = model(x)
        if rank == 1 and step == FAULT:
            out = out.sin()
        return (out - y).square().mean()

    train(path, rank, loss=loss, **options)


def short_batch(path, rank, **options):
    """Give rank 1 a last batch that is smaller."""

    import torch

    def batch(step, x, y):
        is_last = rank == 1 and step == STEPS - 1
        return [torch.from_numpy(t.numpy()[:2].copy()) if is_last else t for t in (x, y)]

    train(path, rank, batch=batch, **options)


def shorter(path, rank, **options):
    """Give rank 1 fewer batches than rank 0, which then waits for it, until the process of rank 1 is gone."""
    train(path, rank, steps=STEPS - 4 * rank, **options)
    if rank == 1:
        os._exit(0)


def alone(path, rank, **options):
    """Trace on rank 0 only."""
    train(path, rank, traces=rank == 0, **options)


def uneven(path, rank, **options):
    """Stop tracing earlier on rank 1, which goes on for the sake of the others."""
    import torch
    import torch.distributed as dist
    from torch.distributed.algorithms.join import Join
    from torch.nn.parallel import DistributedDataParallel

    import gradviz

    model = DistributedDataParallel(network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradviz.trace(path, params=dict(model.named_parameters())) as log, Join([model]):
        for x, y in batches(rank, STEPS - 4 * dist.get_rank()):
            optimizer.zero_grad()
            value = (model(x) - y).square().mean()
            value.backward()
            log.step(value)
            optimizer.step()


def unwrapped(path, rank):
    """Train without DistributedDataParallel, from weights that each rank drew for itself."""
    import torch

    import gradviz

    torch.manual_seed(rank)
    model = network()
    with gradviz.trace(path, params=dict(model.named_parameters())) as log:
        for x, y in batches(rank, 3):
            value = (model(x) - y).square().mean()
            value.backward()
            log.step(value)


def accumulating(path, rank):
    """Sum gradients up over two batches, and reduce them at the second."""
    import contextlib

    import torch
    from torch.nn.parallel import DistributedDataParallel

    import gradviz

    model = DistributedDataParallel(network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradviz.trace(path, params=dict(model.named_parameters())) as log:
        for step, (x, y) in enumerate(batches(rank)):
            with contextlib.nullcontext() if step % 2 else model.no_sync():
                value = (model(x) - y).square().mean()
                value.backward()
            log.step(value)
            if step % 2:
                optimizer.step()
                optimizer.zero_grad()


def normalised(path, rank):
    """Train a network with BatchNorm, and trace its running statistics as well."""
    import torch
    from torch.nn.parallel import DistributedDataParallel

    import gradviz

    model = DistributedDataParallel(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    floats = {name: b for name, b in model.named_buffers() if b.is_floating_point()}
    with gradviz.trace(path, params={**dict(model.named_parameters()), **floats}) as log:
        for x, _ in batches(rank):
            optimizer.zero_grad()
            value = model(x).pow(3).mean()
            value.backward()
            log.step(value)
            optimizer.step()


def killed(path, rank, **options):
    """Kill rank 1 in the middle of a step."""

    def at(step, model):
        if rank == 1 and step == FAULT:
            os.kill(os.getpid(), signal.SIGKILL)

    train(path, rank, at=at, **options)


def raising(path, rank, **options):
    """Raise on rank 1."""

    def batch(step, x, y):
        if rank == 1 and step == FAULT:
            raise KeyError("no such sample")
        return x, y

    train(path, rank, batch=batch, **options)


def sharded(path, rank, watched=False, **options):
    """Train under FSDP2: every rank holds a shard of each parameter, and of nothing of a bias of one element."""
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    import gradviz
    from gradviz.tracing.ranks import layout_of

    mesh = init_device_mesh("cpu", (2,))
    model = network()
    for layer in (model[0], model[2]):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    given = {"model": model, "optimizer": optimizer} if watched else {"params": dict(model.named_parameters())}
    with gradviz.trace(path, **given, **options) as log:
        for x, y in batches(rank):
            optimizer.zero_grad()
            value = (model(x) - y).square().mean()
            value.backward()
            own = {n: (p.to_local().detach().tolist(), p.grad.to_local().tolist()) for n, p in model.named_parameters()}
            log.note("shards", shards=own, layout=layout_of(dict(model.named_parameters())))
            log.step(value)
            optimizer.step()


def clashing(path, rank):
    """Trace into one folder on both ranks, as if each were the only process."""
    import torch.distributed as dist

    import gradviz

    log = gradviz.trace(path, params={}, rank=0, world_size=1) if rank == 0 else None
    dist.barrier()
    if rank == 1:
        try:
            gradviz.trace(path, params={}, rank=0, world_size=1)
        except gradviz.errors.TraceBusyError as error:
            print("refused:", error.message)
    dist.barrier()
    if log is not None:
        log.step(1.0)
        log.close()


def watched(scenario):
    """Return a scenario whose trace watches the model."""
    return lambda path, rank: scenario(path, rank, watched=True)


def wide(scenario, **options):
    """Return a scenario with more numbers than are kept at every step."""
    return lambda path, rank: scenario(path, rank, net=network(1500), **options)


PLAIN = {f.__name__: f for f in (sound, nudged, poisoned, branching, short_batch, alone, killed, raising, sharded)}
SCENARIOS = {
    **PLAIN,
    **{f.__name__: f for f in (uneven, shorter, unwrapped, accumulating, normalised, clashing)},
    **{f"watched_{name}": watched(scenario) for name, scenario in PLAIN.items()},
    "digests": wide(nudged),
    "norms": wide(nudged, level="scalars", by=1e-3),
    "statistics": wide(nudged, level="stats"),
}

if __name__ == "__main__":
    main(*sys.argv[1:])
