"""What runs inside a guest: its first process and what that needs. Python's standard library and the kernel, no more.

The host imports from here only what both ends have to agree on.
"""
