"""
Coverage-guided fuzzing of everything that reads what strangers send.

C{make fuzz} runs each target of L{fuzz.targets} for a while.  What is in
C{fuzz/corpus} is where it starts, and is gone through in the tests as well.
"""
