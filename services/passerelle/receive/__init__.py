"""A recipient's side: its inbox, as a read_committed reader sees it."""
