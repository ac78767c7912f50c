// Checks a proof of inclusion where it is read: C2SP tlog-proof, tlog-checkpoint and signed-note, RFC 6962 hashes.
//
// Pure but for WebCrypto, so that Node holds it to the vectors of tests/vectors. It says the same of a proof as
// `passerelle ledger verify-proof` does, and is as strict: whatever is not in its one spelling is refused.

const MAGIC = 'c2sp.org/tlog-proof@v1';
const ED25519 = 1;
const KEY_ID_BYTES = 4;
const PUBLIC_KEY_BYTES = 32;
const HASH_BYTES = 32;
const PROOF_CHARS_MAX = 1 << 20;
const HASHES_MAX = 63;
const SIGNATURES_MAX = 64;
const NUMBER = /^(0|[1-9][0-9]{0,15})$/;

/** Why a proof does not hold. `step` is a closed set: format, entry, place, path, key, signature; `unable` says nothing of it. */
export class ProofFault extends Error {
  constructor(step, said) {
    super(said);
    this.step = step;
  }
}

const bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
// In pieces: an entry may be longer than a call has arguments.
const base64 = (bytes) => {
  let text = '';
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
};
const hex = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
const utf8 = (text) => new TextEncoder().encode(text);
const same = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);
const sha256 = async (...parts) => {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((at, part) => { joined.set(part, at); return at + part.length; }, 0);
  return new Uint8Array(await crypto.subtle.digest('SHA-256', joined));
};

// RFC 4648 in its one spelling: padding bits that are not zero would let a byte change unseen.
const unbase64 = (text, step = 'format') => {
  let bytes;
  try { bytes = bytesOf(text); } catch { throw new ProofFault(step, 'not base64'); }
  if (base64(bytes) !== text) throw new ProofFault(step, 'not base64 in its canonical form');
  return bytes;
};
const number = (text, step = 'format') => {
  const value = NUMBER.test(text) ? Number(text) : NaN;
  if (!Number.isSafeInteger(value)) throw new ProofFault(step, 'not a number');
  return value;
};

/** The hash of an entry (RFC 6962, 2.1). */
export const leafHash = (entry) => sha256(new Uint8Array([0]), entry);
const nodeHash = (left, right) => sha256(new Uint8Array([1]), left, right);

/** The root that a leaf and its path lead to (RFC 9162, 2.1.3.2). Throws `ProofFault` place, path. */
export const rootOf = async (index, size, leaf, path) => {
  if (leaf.length !== HASH_BYTES) throw new ProofFault('path', 'no leaf hash');
  if (index < 0 || index >= size) throw new ProofFault('place', 'no such place in the tree');
  // Shifts of numbers are of 32 bits.
  let [at, last, root] = [BigInt(index), BigInt(size) - 1n, leaf];
  for (const hash of path) {
    if (hash.length !== HASH_BYTES || last === 0n) throw new ProofFault('path', 'a hash too many, or of another length');
    if (at % 2n === 1n || at === last) {
      root = await nodeHash(hash, root);
      while (at % 2n === 0n && at !== 0n) [at, last] = [at / 2n, last / 2n];
    } else {
      root = await nodeHash(root, hash);
    }
    [at, last] = [at / 2n, last / 2n];
  }
  if (last !== 0n) throw new ProofFault('path', 'a hash too few');
  return root;
};

/** The log's key, as a vkey says it: `name+12ab34cd+AbC…=`. Throws `ProofFault` key. */
export const parseKey = async (text) => {
  const [name, id, material, ...more] = text.split('+');
  // Base64 has a plus too: the first two part the name and the id.
  const raw = unbase64([material ?? '', ...more].join('+'), 'key');
  if (!name || /\s/.test(name) || raw.length !== 1 + PUBLIC_KEY_BYTES || raw[0] !== ED25519) {
    throw new ProofFault('key', 'not the verifier key of an Ed25519 log');
  }
  const keyId = (await sha256(utf8(`${name}\n`), raw)).subarray(0, KEY_ID_BYTES);
  if (hex(keyId) !== id) throw new ProofFault('key', 'the key does not have this id');
  return { name, id: keyId, hexId: hex(keyId), public: raw.subarray(1) };
};

/** A `.tlog-proof` file: the entry, its place, the path and the signed checkpoint. Throws `ProofFault` format. */
export const parseProof = (text) => {
  const end = text.indexOf('\n\n');
  if (end < 0 || text.length > PROOF_CHARS_MAX) throw new ProofFault('format', 'not a tlog-proof');
  const [magic, extra = '', index = '', ...hashes] = text.slice(0, end).split('\n');
  if (magic !== MAGIC || !extra.startsWith('extra ') || !index.startsWith('index ') || hashes.length > HASHES_MAX) {
    throw new ProofFault('format', 'not a tlog-proof');
  }
  return {
    entry: unbase64(extra.slice('extra '.length)),
    index: number(index.slice('index '.length)),
    path: hashes.map((hash) => unbase64(hash)),
    note: parseNote(text.slice(end + 2)),
  };
};

const parseNote = (whole) => {
  const end = whole.lastIndexOf('\n\n');
  if (end < 0 || !whole.endsWith('\n') || /[\x00-\x09\x0b-\x1f]/.test(whole)) throw new ProofFault('format', 'not a signed note');
  const text = whole.slice(0, end + 1);
  const [origin, size, root] = text.split('\n');
  const lines = whole.slice(end + 2, -1).split('\n');
  if (lines.length > SIGNATURES_MAX) throw new ProofFault('format', 'too many signatures');
  const hash = unbase64(root ?? '');
  if (hash.length !== HASH_BYTES) throw new ProofFault('format', 'not a checkpoint');
  return { text, origin, size: number(size), root: hash, signatures: lines.map(parseSignature) };
};

const parseSignature = (line) => {
  const found = /^— ([^ +]+) ([^ ]+)$/.exec(line);
  const raw = found ? unbase64(found[2]) : [];
  if (raw.length <= KEY_ID_BYTES) throw new ProofFault('format', 'not a signature line');
  return { name: found[1], id: raw.subarray(0, KEY_ID_BYTES), signature: raw.subarray(KEY_ID_BYTES) };
};

const checkSignature = async (note, key) => {
  if (note.origin !== key.name) throw new ProofFault('key', `the checkpoint of ${note.origin}`);
  const mine = note.signatures.filter((line) => line.name === key.name && same(line.id, key.id));
  if (!mine.length) throw new ProofFault('key', 'no signature under this key');
  let opened;
  try {
    opened = await crypto.subtle.importKey('raw', key.public, { name: 'Ed25519' }, false, ['verify']);
  } catch {
    throw new ProofFault('unable', 'no Ed25519 here');
  }
  for (const { signature } of mine) {
    if (!(await crypto.subtle.verify({ name: 'Ed25519' }, opened, signature, utf8(note.text)))) {
      throw new ProofFault('signature', 'the signature does not hold');
    }
  }
};

const identOf = (entry) => {
  try {
    const said = JSON.parse(new TextDecoder().decode(entry));
    return said.decision ?? said.id;
  } catch {
    throw new ProofFault('format', 'not an entry');
  }
};

/**
 * Checks a proof against the log's key, and that it is the proof of what is shown: `shown.index`, and if it is known
 * `shown.entry`, the entry's canonical text, or `shown.ident`, its id. Throws `ProofFault`; returns what was computed.
 */
export const verifyProof = async (text, key, shown) => {
  const { entry, index, path, note } = parseProof(text);
  if (index !== shown.index) throw new ProofFault('place', 'the proof of another place');
  if (shown.entry !== undefined && !same(entry, utf8(shown.entry))) throw new ProofFault('entry', 'the proof of another entry');
  if (shown.ident !== undefined && identOf(entry) !== shown.ident) throw new ProofFault('entry', 'the proof of another entry');
  const leaf = await leafHash(entry);
  const root = await rootOf(index, note.size, leaf, path);
  if (!same(root, note.root)) throw new ProofFault('path', 'the path does not lead to the root');
  await checkSignature(note, key);
  return { index, size: note.size, hashes: path.length, leaf: hex(leaf), root: base64(root), origin: note.origin };
};
