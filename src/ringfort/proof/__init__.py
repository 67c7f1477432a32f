"""The proof: what rules really allow, from any nftables ruleset to a whole environment. Pure: no effects, no clock."""
