"""The rules of the `spec` hook, one subject each; they work on JSON text."""
