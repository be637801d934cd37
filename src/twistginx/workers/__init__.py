"""
Several processes that serve together: the master, the workers, and what they tell each other.
"""
