"""An auditor finds decisions and checks their proofs in the page, with a key of their own; a changed one fails."""

import pytest
import pytest_asyncio

from browser.conftest import DESKTOP, sign_in, violations
from browser.test_accessibility import found_on
from passerelle.web.audit.alarms import MonitorFiles
from passerelle_consent.ledger.audit.prove import InclusionProof
from unit.ledger.fakes import SIGNER
from unit.web.audited import MANDATE, auditor, decided, denied, withdrawn

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]
DENIED = "/audit?resultat=deny"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def claire(served):
    """Of whom the ledger says much: three denials, a withdrawal, and something that was sent after it."""
    who = await served.citizen("Morel")
    denied(served, who)
    await withdrawn(served, who)
    decided(served, who)
    return who


@pytest_asyncio.fixture(loop_scope="module")
async def tab(browser, served, claire):
    """A tab with JavaScript, of an auditor who is signed in."""
    context = await browser.new_context(
        viewport=DESKTOP, base_url=served.site.public_url, locale="fr-FR", bypass_csp=True
    )
    context.set_default_timeout(10_000)
    session = {"name": "session", "value": served.session(auditor(served), name="Nadia Lefort")}
    await context.add_cookies([{**session, "url": served.site.public_url}])
    yield await context.new_page()
    await context.close()


async def test_decisions_are_found_and_taken_away_with_their_proof(page, claire, tmp_path):
    await sign_in(page, "dpo", path="/connexion?vers=/audit", staff=True)
    await page.select_option("#champ", "resultat")
    await page.click("text=Ajouter ce critère")
    await page.click("text=Lancer la recherche")
    await page.click(".ds-error-summary a:has-text('Résultat')")
    await page.select_option("#resultat", "deny")
    await page.click("text=Lancer la recherche")
    await page.wait_for_selector("#resultats")
    assert await page.locator("#resultats tbody tr").count() == 3
    async with page.expect_download() as waited:
        await page.click("#resultats tbody tr:first-child >> text=Fichier de preuve")
    await (await waited.value).save_as(tmp_path / "proof")
    entry, _ = InclusionProof.parse((tmp_path / "proof").read_bytes()).check(SIGNER.verifier)
    assert entry.verdict == "deny"
    async with page.expect_download() as waited:
        await page.click("#resultats a:has-text('CSV')")
    assert (await waited.value).suggested_filename == "passerelle-registre-csv.zip"


async def test_proofs_are_checked_in_the_page_with_a_key_that_the_auditor_brings(tab, served):
    await tab.goto(DENIED)
    assert SIGNER.verifier.encode() not in await tab.content()
    await tab.fill("#vkey", "no key")
    await tab.click("#vkey-prendre")
    await tab.wait_for_selector("text=Ce n’est pas la clé d’un registre")
    await tab.fill("#vkey", SIGNER.verifier.encode())
    await tab.check("#vkey-garder")
    await tab.click("#vkey-prendre")
    await tab.wait_for_selector("text=3 preuves vérifiées sur 3.")
    assert SIGNER.name in await tab.inner_text("#vkey-dit")
    await tab.goto("/en" + DENIED)
    await tab.wait_for_selector("text=3 of 3 proofs hold.")
    assert await tab.is_hidden("#echecs")
    await tab.click("#vkey-oublier")
    await tab.reload()
    assert await tab.input_value("#vkey") == ""


async def test_a_proof_that_was_changed_is_refused_and_named(tab):
    changed = []

    async def change(route):
        answer = await route.fetch()
        proof = InclusionProof.parse(await answer.body())
        if not changed:
            changed.append(proof.index)
            entry = proof.entry.replace(b'"deny"', b'"permit"')
            proof = InclusionProof(index=proof.index, entry=entry, hashes=proof.hashes, note=proof.note)
        await route.fulfill(response=answer, body=proof.encode())

    await tab.route("**/audit/preuve/*", change)
    await tab.goto(DENIED)
    # The page that shows the changed entry too: only the path to the root tells.
    await tab.evaluate("document.querySelectorAll('[data-hashed]').forEach((shown) => shown.remove())")
    await tab.fill("#vkey", SIGNER.verifier.encode())
    await tab.click("#vkey-prendre")
    await tab.wait_for_selector("text=2 preuves vérifiées sur 3.")
    assert await tab.is_visible("text=Une preuve échoue")
    assert "le chemin ne mène pas à la racine signée" in await tab.inner_text(f"#l-{changed[0]} .au-proof")
    assert await violations(tab) == []


async def test_nothing_is_in_anybodys_way(browser, served, claire, tmp_path_factory):
    folder = tmp_path_factory.mktemp("monitor")
    (folder / "state").write_text("{}")
    line = (
        '{"at": "2026-11-26T09:00:00Z", "alarm": "permit-after-fence", "index": 7, "what": "permit follows fence 6"}\n'
    )
    (folder / "alarms").write_text(line)
    served.site.extras[MonitorFiles] = MonitorFiles(state=folder / "state", alarms=folder / "alarms")
    session = {"name": "session", "value": served.session(auditor(served), name="Nadia Lefort")}
    person = f"/audit/personne?mandat={MANDATE}&personne={claire.pseudonym.hex()}&vue="
    paths = ["/audit?type=decision", "/audit?motif=&du=x", "/audit/alertes", person + "decisions", person + "absence"]
    assert await found_on(browser, served, paths, cookies=[session]) == {}
