"""Settings for every test."""

from hypothesis import settings

# Examples follow from the test's name alone, so that a failure is the same everywhere;
# an example has no deadline, because the first one compiles.
settings.register_profile("purerl", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("purerl")
