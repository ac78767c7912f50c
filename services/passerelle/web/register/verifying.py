"""The commands with which anybody checks the ledger, as the page says them: a test runs them."""

from dataclasses import dataclass

CHECKPOINT_FILE = "point-de-controle.txt"
KEY_FILE = "registre.vkey"
PROOF_FILE = "preuve.tlog-proof"
INSTALL = "pip install 'passerelle[auditor]'"


@dataclass(frozen=True, kw_only=True, slots=True)
class Commands:
    """For a log at an address, and a checkpoint of it that somebody keeps."""

    log_url: str
    size: int
    """Of the checkpoint that is kept: so many entries."""

    @property
    def own(self) -> str:
        """That a line about oneself is in the log: offline, from its proof."""
        return f"passerelle ledger verify-proof {PROOF_FILE} --vkey {KEY_FILE}"

    @property
    def later(self) -> str:
        """That the log only grew since: its hashes are for everybody."""
        return (
            f"passerelle ledger prove {self.log_url} --since {self.size} --vkey {KEY_FILE} > suite.json\n"
            f"passerelle ledger verify-proof suite.json --vkey {KEY_FILE} --kept {CHECKPOINT_FILE}"
        )

    @property
    def everything(self) -> str:
        """Every entry: for auditors, who may read them."""
        return f"passerelle ledger verify {self.log_url} --vkey {KEY_FILE} --token-file jeton.txt"
