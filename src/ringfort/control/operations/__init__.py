"""What each call does, one module a subject. Reads take a connection and a call; changes return an `Outcome`."""
