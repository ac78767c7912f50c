"""Records and receipts of what a citizen said (ISO/IEC TS 27560:2023), in the words of DPV, signed. Pure.

The city keeps the record; the citizen takes the receipt along. `document` writes both, `seal` signs a receipt and opens
one again without asking anybody, and `told` says in plain words what stands in it.
"""
