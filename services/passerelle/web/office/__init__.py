"""For officers: what waits for their word, and whom a judgment or a birth has speak for somebody."""
