"""Tests of the benchmarks: what they count, how they speak, what they say."""
