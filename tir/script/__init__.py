"""The text form of the IR: Python, parsed by its AST and printed back."""
