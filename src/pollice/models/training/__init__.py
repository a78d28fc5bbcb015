"""Training an encoder with our own loop."""
