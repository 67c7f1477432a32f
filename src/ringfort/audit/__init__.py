"""The audit log: who changed what, when, from where and why, in a Merkle log that nobody can rewrite unnoticed.

Formats are those of C2SP (https://c2sp.org): tlog-tiles, tlog-checkpoint, signed-note, tlog-cosignature, tlog-witness,
tlog-policy, tlog-proof. Trees, tiles, notes, checkpoints, policies, records and proofs are values in, values out; what
touches disks and networks stands apart: `journal`, `log`, `reading`, `keeping`, `witness`, `publisher`.
"""
