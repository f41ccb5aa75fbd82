"""What runs: five flows, the chain of stages of a training, and the console command.

Start at `pipeline.py`, which has the whole chain on one screen. Modules here may import everything below.
"""
