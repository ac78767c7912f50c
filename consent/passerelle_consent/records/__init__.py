"""The consent service: what citizens said, recorded, told to the bus, and acknowledged once it is in effect."""
