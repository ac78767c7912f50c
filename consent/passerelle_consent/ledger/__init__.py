"""The ledger (DESIGN §8): every decision and every change of consent is a leaf of a public-proof log.

Three states of a record have names: *sequenced* (in its Kafka topic, in order), *integrated* (an entry in the
database, under a signed checkpoint), *published* (in the folder that everybody may verify).

`log` holds its forms, pure; `audit` what needs no trust in whoever keeps it; `sealing` makes entries of records, pure;
`database` keeps them; `integrator` is the one leader that writes and publishes; `query` answers questions. `log` and
`audit` need neither Kafka nor a database, and import-linter holds them to that.
"""
