"""Customers' applications: what they are made of, how they are kept, and the sandboxes that they run in."""
