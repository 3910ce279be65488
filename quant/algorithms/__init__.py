"""What quantizing does beside ranges and rounding: a file an algorithm, a row in ``ALGORITHMS``.

Every file of this folder is imported, so a new one needs nothing else.
"""

from __future__ import annotations

from ...options.registry import enter_files

enter_files(__name__, __path__)
