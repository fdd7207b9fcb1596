"""Benchmark suites: many environments, one score."""

from purerl.suites import bsuite

__all__ = ["bsuite"]
