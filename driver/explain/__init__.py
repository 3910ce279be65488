"""Why a model's kernels became the code that they are, and what becomes of them without a rule."""
