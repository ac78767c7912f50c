"""The log's own forms, all pure: tree, tiles, checkpoints, notes, cosignatures, proofs, entries, commitments."""
