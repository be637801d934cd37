"""
The configuration: TOML text with positions, and the frozen classes that it becomes.
"""
