"""Machines: instruction table, selection, packets, timing, JIT and runtime."""
