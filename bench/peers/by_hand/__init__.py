"""The limit: each query answered by code written for it alone, on the driver, SQL, indexes and server of ours.

What a planner can reach at most. It has no parser, no limits, no refusals beyond a missing access token.
"""
