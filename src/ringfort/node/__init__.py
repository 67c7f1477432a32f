"""One light process on each machine: it takes the signed environment, enforces its part, and says what is enforced."""
