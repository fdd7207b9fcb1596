"""Figures of Sutton & Barto, *Reinforcement Learning: An Introduction* (2nd ed., 2018), with intervals and exact answers."""
