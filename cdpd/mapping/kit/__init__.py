"""The mapping kit: directives that make a payload of an event, and fields that check it. Spec: connections.md §8.2."""
