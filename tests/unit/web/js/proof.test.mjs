// What the auditors' page says of proofs, held to the vectors of tests/vectors. Run by test_audit_proof.py.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ProofFault, parseKey, rootOf, verifyProof } from '../../../../services/passerelle/web/assets/js/audit/proof.js';

const bytes = (text) => new Uint8Array(Buffer.from(text ?? '', 'base64'));
const vectors = readFileSync(process.env.VECTORS, 'utf8').trim().split('\n').map((line) => JSON.parse(line));

test('every inclusion vector is judged as transparency-dev does', async () => {
  assert.ok(vectors.length > 10 && vectors.some((v) => v.wantErr) && vectors.some((v) => !v.wantErr));
  for (const v of vectors) {
    const judged = rootOf(v.leafIdx, v.treeSize, bytes(v.leafHash), (v.proof ?? []).map(bytes))
      .then((root) => Buffer.from(root).equals(Buffer.from(v.root ?? '', 'base64')), (fault) => {
        assert.ok(fault instanceof ProofFault, `${v.case}: ${fault.stack}`);
        return false;
      });
    assert.equal(await judged, !v.wantErr, v.case);
  }
});

const real = JSON.parse(readFileSync(process.env.PROOFS, 'utf8'));

test('real proofs of a log hold, whatever is not them fails where it is wrong', async () => {
  const key = await parseKey(real.vkey);
  for (const { text, index, entry } of real.proofs) {
    assert.equal((await verifyProof(text, key, { index, entry })).index, index);
    await assert.rejects(verifyProof(text, key, { index: index + 1 }), { step: 'place' });
    await assert.rejects(verifyProof(text, key, { index, entry: `${entry} ` }), { step: 'entry' });
    await assert.rejects(verifyProof(text, await parseKey(real.other), { index, entry }), { step: 'key' });
  }
  for (const { text, index, entry, step } of real.tampered) {
    await assert.rejects(verifyProof(text, key, { index, entry }), { name: 'Error', step }, step);
  }
});

test('a key that is not one is told', async () => {
  const swapped = real.vkey.replace(/\+[0-9a-f]{8}\+/, '+00000000+');
  for (const text of ['', 'x', real.vkey.slice(0, -1), swapped, `${real.vkey} `]) {
    await assert.rejects(parseKey(text), { step: 'key' });
  }
});
