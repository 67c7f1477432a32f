"""The compiler: an environment becomes one nftables ruleset for each device. Pure: nothing here runs a command."""
