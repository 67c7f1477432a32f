"""The command line: a module for each verb, which parses, calls one core function, prints, and returns an exit code."""
