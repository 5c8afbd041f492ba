"""The archive as SQL tables: DuckDB views over the streams' own files. Columns: README.md beside this file."""
