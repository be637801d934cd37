"""
Coverage-guided fuzzing of everything that reads bytes of strangers: C{python tests/fuzz/run.py --seconds 60}.

What it has found is kept in C{corpus}, and run by the suite.
"""
