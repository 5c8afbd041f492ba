"""The pipeline: received → hook chain → events | discarded."""
