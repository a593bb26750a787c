"""How hypothesis runs: the same examples every time; ``HYPOTHESIS_PROFILE=explore`` looks for new ones."""

import os

from hypothesis import HealthCheck, settings

CALM = {"deadline": None, "print_blob": True, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("steady", derandomize=True, max_examples=60, **CALM)
settings.register_profile("explore", max_examples=1000, **CALM)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))
