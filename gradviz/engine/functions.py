"""Every public function of the engine, by its name.

Each file of rules names its functions in its own ``__all__``; nothing is listed twice.
"""

from __future__ import annotations

from .ops import (
    activations,
    contraction,
    convolution,
    diagonals,
    elementwise,
    indexing,
    joining,
    linalg,
    losses,
    norms,
    reductions,
    rounding,
    running,
    selecting,
    shapes,
    special,
    transcendental,
)
from .ops.activations import *
from .ops.contraction import *
from .ops.convolution import *
from .ops.diagonals import *
from .ops.elementwise import *
from .ops.indexing import *
from .ops.joining import *
from .ops.linalg import *
from .ops.losses import *
from .ops.norms import *
from .ops.reductions import *
from .ops.rounding import *
from .ops.running import *
from .ops.selecting import *
from .ops.shapes import *
from .ops.special import *
from .ops.transcendental import *

__all__: list[str] = []
__all__ += activations.__all__
__all__ += contraction.__all__
__all__ += convolution.__all__
__all__ += diagonals.__all__
__all__ += elementwise.__all__
__all__ += indexing.__all__
__all__ += joining.__all__
__all__ += linalg.__all__
__all__ += losses.__all__
__all__ += norms.__all__
__all__ += reductions.__all__
__all__ += rounding.__all__
__all__ += running.__all__
__all__ += selecting.__all__
__all__ += shapes.__all__
__all__ += special.__all__
__all__ += transcendental.__all__
__all__.sort()
