"""Customers' instances on this machine: told by a controller, run in sandboxes at declared places, reported.

Loaded only by nodes that have places: a sandbox takes more modules than all the rest of a node.
"""
