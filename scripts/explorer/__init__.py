"""The page of `python -m scripts.explore`.

fields → shelf → game, memory → page → server
"""
