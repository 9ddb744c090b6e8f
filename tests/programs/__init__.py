"""Programs as users write them, with public names alone: `test_programs.py` checks their types and runs each."""
