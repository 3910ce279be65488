"""How buffers lie in memory, whatever the machine: the number that layouts, passes and code share.

No machine has longer vectors, and each one's length divides it: so rows of stored images are whole
vectors everywhere, and a kernel's stored operands are the same for all machines.
"""

ALIGN = 128  # bytes: where a buffer begins is a multiple; as many behind its end may be loaded


def taken(size: int) -> int:
    """Bytes of memory that a buffer takes. What is loaded behind them means nothing."""
    return -(-size // ALIGN) * ALIGN
