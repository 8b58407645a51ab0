"""Connections that break early, and readers that leave."""
