"""Speed and memory of gradviz beside its peers: ``python -m benchmarks``.

One module per family of workloads (``scalar``, ``arrays``, ``memory``, ``traced``, ``readback``, ``torch_capture``,
``scale``), one registry of libraries (``contestants``) and one of logs (``sinks``), one way to measure (``harness``),
one way to print (``report``). BLAS is held to one thread, so that nobody wins by the second core.
"""

import os

for _name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
