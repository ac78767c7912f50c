"""For citizens: what is shared about them, what they say to it, and what they can prove."""
