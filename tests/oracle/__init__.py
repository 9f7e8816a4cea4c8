"""Exact, slow, plain-Python twins of the statistics, to hold the native ones against."""
