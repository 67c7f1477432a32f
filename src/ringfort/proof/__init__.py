"""Packet sets, the reader of any nftables ruleset, symbolic execution, and the proof over an environment."""
