"""``python -m relujax.cli``, where the script is not on the path."""

import sys

from . import leave, main

sys.exit(leave(main()))
