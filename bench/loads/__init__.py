"""Load generators, one a protocol, each speaking what any client of that server speaks. They run in their own process.

``python -m bench.loads SERVER WORK …`` does one work against a running server and prints what it cost as JSON.
"""
