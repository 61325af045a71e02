"""What the relay and the peers cost, beside the brokers that people would otherwise take.

``python -m bench --help`` says how to run it.
"""
