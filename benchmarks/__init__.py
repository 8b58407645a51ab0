"""What aibind costs, beside what others cost: ``python -m benchmarks NAME --json``, ``python -m benchmarks report``."""
