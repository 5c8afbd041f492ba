"""FQL: text → tokens → syntax tree → closures. Spec: connections.md §6.1 (filters), §8.1 (triggers)."""
