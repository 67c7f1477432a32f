"""The command line: one module for each verb; each parses, calls one core function, prints, and returns an exit code."""
