"""
Where an upstream's servers come from.
"""
