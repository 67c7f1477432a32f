"""Enforcement points: HAProxy in front of services, so that a service is reached under TLS and by its callers only."""
