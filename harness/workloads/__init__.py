"""What runs inside the container: ``python -m harness.workloads NAME spec.json OUT``."""
