"""What the harness itself costs, beside ReFrame: ``python -m tests.bench``.

No timing is a test: the figures depend on the machine, so they are printed and kept, not asserted.
"""
