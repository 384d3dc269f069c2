"""The report: its runs (`jobs`), how they are trained (`training`) and drawn (`memory`, `game`, `measured`), its page."""
