"""The other way to do it: what our figures are compared with."""
