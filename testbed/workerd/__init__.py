"""Python Workers in the real Workers runtime."""
