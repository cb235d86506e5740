"""Presets: what is registered how, one TOML file each."""
