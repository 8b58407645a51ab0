"""Chat front ends: clients of others, unmodified, against this project's servers."""
