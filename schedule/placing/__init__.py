"""What comes to TCM when: parts of kernels, phases, operands that stay or take turns."""
