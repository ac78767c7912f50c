"""The ledger (DESIGN §8): every decision and every change of consent is a leaf of a public-proof log.

Three states of a record have names: *sequenced* (in its Kafka topic, in order), *integrated* (an entry in the
database, under a signed checkpoint), *published* (in the folder that everybody may verify).

The core needs neither Kafka nor a database: `tree`, `tiles`, `note`, `checkpoint`, `canonical`, `entries`, `folder`,
`verify`, `prove`. It is what an auditor installs. `commitments`, `sequence` and `vault` are pure as well. `store`,
`feed`, `publish`, `integrate` and `disclose` are the shell.
"""
