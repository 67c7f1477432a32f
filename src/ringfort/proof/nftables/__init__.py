"""Reading ``nft --json list ruleset``: JSON shapes in, `ringfort.proof.ruleset` values out."""
