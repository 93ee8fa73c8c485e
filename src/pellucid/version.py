"""The version of the package, which is known where it is not installed too."""

__version__ = "0.1.0"
