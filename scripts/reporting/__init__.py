"""The parts of a report: its runs, the figures of both lessons, and the page."""
