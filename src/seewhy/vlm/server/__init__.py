"""Sampling through an OpenAI-compatible server."""
