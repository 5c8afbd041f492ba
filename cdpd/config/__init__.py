"""Configuration: TOML → typed structs (model.py), each error with its place (load.py)."""
