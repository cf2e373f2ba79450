"""The version of this package, and the only place that says it."""

VERSION = "0.1.0"
