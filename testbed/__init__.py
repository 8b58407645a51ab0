"""Parts that the tests and the benchmarks share. It imports neither of them."""
