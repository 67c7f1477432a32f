"""The declaration of an environment: reading, checking, resolving, comparing. It knows no other package."""
