"""What runs: three flows, the chain of stages that they share, and the console command.

Start at `pipeline.py`, which has the whole chain on one screen. Modules here may import everything below.
"""
