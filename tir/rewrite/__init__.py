"""The rewriting engine: rules, matching, proofs."""
