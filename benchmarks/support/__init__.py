"""What the benchmarks share: measuring, running side by side, yardsticks, printing."""
