"""Two processes train one network together (DistributedDataParallel), and one of them goes astray.

Every rank writes its own trace; nothing is sent for that. Reading puts them beside each other: in the first run all is
well, in the second 1e-6 was added to one weight of rank 1 at step 7, which PyTorch itself never notices, and in the
third a sample of rank 1 was broken, so that the NaN of its gradient came to all ranks.

torchrun --standalone --nproc_per_node 2 examples/torchrun_ddp.py [--out DIR] [--steps N]
python examples/torchrun_ddp.py        starts the same by itself
gradviz check out/torchrun_ddp/runs/nudged
(needs: pip install torch gradviz)
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import gradviz

try:
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel
except ImportError:
    raise SystemExit("this example needs PyTorch: pip install torch") from None

RUNS = ("sound", "nudged", "poisoned")
FAULT = 7


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="out/torchrun_ddp", help="where to write (default: out/torchrun_ddp)")
    parser.add_argument("--steps", type=int, default=20, help="of each training (default: 20)")
    given = parser.parse_args()
    runs = Path(given.out) / "runs"

    if "RANK" not in os.environ:  # not under torchrun: start it
        line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *sys.argv]
        return subprocess.run(line, env={"OMP_NUM_THREADS": "1", **os.environ}, check=False).returncode

    dist.init_process_group("gloo")
    for name in RUNS:
        train(runs / name, dist.get_rank(), given.steps, name)
    dist.barrier()  # all have written
    if dist.get_rank() == 0:
        report(runs)
    dist.destroy_process_group()
    return 0


def train(path: Path, rank: int, steps: int, fault: str) -> None:
    """Train with one of the faults, each rank on batches of its own."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
    model = DistributedDataParallel(network)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    data = np.random.default_rng(rank)
    with gradviz.trace(path, model=model, optimizer=optimizer, meta={"fault": fault}) as log:
        for step in range(steps):
            x = data.normal(size=(8, 4))
            y = x.sum(axis=1, keepdims=True)
            if rank == 1 and step == FAULT:
                if fault == "nudged":
                    network[2].weight.data[0, 3] += 1e-6
                elif fault == "poisoned":
                    x[2, 1] = np.nan
            x, y = (torch.tensor(numbers, dtype=torch.float32) for numbers in (x, y))
            optimizer.zero_grad()
            loss = (model(x) - y).square().mean()
            loss.backward()
            log.step(loss)
            optimizer.step()


def report(runs: Path) -> None:
    """Say what the traces of both ranks tell."""
    print("wrote", runs)
    for name in RUNS:
        ranks = gradviz.open_runs(runs / name)
        print(f"\n{ranks.by_rank()}")
        for finding in ranks.findings(["rank-diverges", "rank-nan", "rank-structure", "rank-died"]):
            print(" ", finding)


if __name__ == "__main__":
    sys.exit(main())
