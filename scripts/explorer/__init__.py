"""The page of `python -m scripts.explore`: `model_index` lists networks, `page` shows `gan` and `memory`."""
