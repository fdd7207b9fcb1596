"""Figures of Sutton & Barto, *Reinforcement Learning: An Introduction* (2nd ed., 2018).

Each with intervals and, where they are known, exact answers.
"""
