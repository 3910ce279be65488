"""Real HVX code: emission through LLVM and execution under QEMU."""
