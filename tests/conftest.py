"""What every test relies on."""

import os

from hypothesis import settings

# A deadline measures seconds, which says more about the machine than about the code.
settings.register_profile("cpl_edge", deadline=None, derandomize=True)
settings.load_profile("cpl_edge")

# One-line errors and tables must not depend on the terminal that runs the tests.
os.environ["COLUMNS"] = "120"
os.environ["NO_COLOR"] = "1"
os.environ.pop("FORCE_COLOR", None)
