"""Parts that the benchmarks share: measuring, running side by side, yardsticks, printing."""
