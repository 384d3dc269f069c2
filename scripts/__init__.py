"""What a person starts besides `twofold`: `python -m scripts.demo` and its like."""
