// Checks every proof of an auditors' page with the auditor's own key, and says what holds and what does not.
import { ProofFault, parseKey, verifyProof } from './audit/proof.js';

const KEPT = 'passerelle.ledger-key';
const AT_ONCE = 4;
const KEY_FILE_BYTES_MAX = 1024;

const panel = document.getElementById('cle');
const said = panel?.dataset;
const field = document.getElementById('vkey');
const filled = (message, values) => message.replace(/\{(\w+)\}/g, (_, name) => values[name]);
const number = new Intl.NumberFormat(document.documentElement.lang).format;

// Storage may be forbidden: the key is then of this page alone.
const kept = {
  read: () => { try { return localStorage.getItem(KEPT); } catch { return null; } },
  write: (text) => { try { localStorage.setItem(KEPT, text); } catch { /* not kept */ } },
  forget: () => { try { localStorage.removeItem(KEPT); } catch { /* nothing is kept */ } },
};

const show = (row, state, word, more = '') => {
  const status = document.getElementById(`etat-${state}`).content.cloneNode(true);
  status.querySelector('.p-st > span').textContent = word;
  row.querySelector('[data-state]').replaceChildren(status);
  const small = row.querySelector('[data-more]');
  small.textContent = more;
  small.hidden = !more;
};

const WHY = {
  format: 'format', entry: 'entry', place: 'place', path: 'path', key: 'key', signature: 'signature', unable: 'noEd25519', away: 'away',
};
const UNTOLD = new Set(['unable', 'away']);

const check = async (row, key) => {
  show(row, 'wait', said.checking);
  // Near the proof: the row of a table, or the part of an article that has both.
  const near = row.closest('tr, .au-held');
  const entry = near?.querySelector('[data-hashed]')?.textContent;
  try {
    const answer = await fetch(row.dataset.proof, { headers: { Accept: 'text/plain' } })
      .catch(() => { throw new ProofFault('away', 'no answer'); });
    if (!answer.ok) throw new ProofFault('away', String(answer.status));
    const found = await verifyProof(await answer.text(), key, { index: Number(row.dataset.index), entry, ident: near?.dataset.ident });
    show(row, 'ok', said.holds, filled(said.more, { leaf: `${found.leaf.slice(0, 12)}…`, hashes: found.hashes, size: number(found.size) }));
    return null;
  } catch (fault) {
    const step = fault instanceof ProofFault ? fault.step : 'unable';
    show(row, UNTOLD.has(step) ? 'warn' : 'bad', UNTOLD.has(step) ? said.unable : said.fails, said[WHY[step]]);
    return { row, step };
  }
};

const report = (rows, faults) => {
  const wrong = faults.filter(({ step }) => !UNTOLD.has(step));
  const place = document.getElementById('echecs');
  place.querySelector('ul').replaceChildren(...wrong.map(({ row, step }) => {
    const item = document.createElement('li');
    const link = document.createElement('a');
    link.className = 'ds-link';
    link.href = `#${row.closest('[id]').id}`;
    link.textContent = `${said.row} ${number(row.dataset.index)} : ${said[WHY[step]]}`;
    item.append(link);
    return item;
  }));
  place.hidden = !wrong.length;
  return filled(said.all, { held: number(rows.length - faults.length), all: number(rows.length) });
};

const checkAll = async (key) => {
  const named = filled(said.kept, { name: key.name, id: key.hexId });
  const rows = [...document.querySelectorAll('[data-proof]')];
  const waiting = [...rows];
  const faults = [];
  tell(named);
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (let row = waiting.shift(); row; row = waiting.shift()) {
      const fault = await check(row, key);
      if (fault) faults.push(fault);
    }
  }));
  tell(`${named} ${report(rows, faults)}`);
};

const tell = (text) => { document.getElementById('vkey-dit').textContent = text; };
const entering = (open) => {
  panel.querySelector('[data-form]').hidden = !open;
  document.getElementById('vkey-prendre').hidden = !open;
  document.getElementById('vkey-oublier').hidden = open;
};

const take = async (text) => {
  let key;
  try {
    key = await parseKey(text.trim());
  } catch (fault) {
    if (!(fault instanceof ProofFault)) throw fault;
    field.setAttribute('aria-invalid', 'true');
    tell(said.badKey);
    field.focus();
    return;
  }
  field.removeAttribute('aria-invalid');
  if (document.getElementById('vkey-garder').checked) kept.write(text.trim());
  entering(false);
  await checkAll(key);
};

const start = () => {
  panel.hidden = false;
  document.getElementById('vkey-prendre').addEventListener('click', () => take(field.value));
  document.getElementById('vkey-fichier').addEventListener('change', async ({ target }) => {
    const [file] = target.files;
    if (file) field.value = (await file.slice(0, KEY_FILE_BYTES_MAX).text()).trim();
  });
  document.getElementById('vkey-oublier').addEventListener('click', () => {
    kept.forget();
    tell('');
    entering(true);
    field.focus();
  });
  const before = kept.read();
  if (before) {
    field.value = before;
    document.getElementById('vkey-garder').checked = true;
    take(before);
  }
};
if (panel) start();
