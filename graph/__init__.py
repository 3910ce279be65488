"""The operator graph: importers, exact evaluation, fusion into kernels, lowering to tir."""
