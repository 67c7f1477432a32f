"""Ringfort: a hosting platform defended in depth, and the proof that it is."""
