"""Drafts of agreements, and what citizens think of them."""
