"""What touches this machine's kernel: entering a namespace, rulesets in and out, and who changed them."""
