"""Which of its values a tensor shall hold: a file an observer, with its row in ``OBSERVERS``.

Every file of this folder is imported, so a new one needs nothing else.
"""

from __future__ import annotations

from ...options.registry import enter_files

enter_files(__name__, __path__)
