"""The ledger (DESIGN §8): every decision and every change of consent is a leaf of a public-proof log.

Three states of a record have names: *sequenced* (in its Kafka topic, in order), *integrated* (an entry in the
database, under a signed checkpoint), *published* (in the folder that everybody may verify).

An auditor's part needs neither Kafka nor a database, and import-linter holds it to that. Pure: `tree`, `tiles`, `note`,
`checkpoint`, `cosignature`, `trust`, `canonical`, `entries`, `consistency`, `watch`. Over `published` (a `folder` or a
`site`): `verify`, `prove`, `scan`, `monitor`. `witness` keeps and cosigns; `ask` asks it.

`commitments`, `sequence` and `vault` are pure as well. The shell: `store`, `feed`, `publish`, `cosigning`, `integrate`,
`stored`, `disclose`.
"""
