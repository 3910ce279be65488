"""The loop-level tensor IR."""
