"""The report: its runs (`jobs`), how they are trained (`training`), what is drawn (`figures`), and its `page`."""
