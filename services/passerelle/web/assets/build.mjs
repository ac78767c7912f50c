// Bundles what the pages are dressed with into ../static, each file under a name with its digest, and `names.json`.
//
//   npm ci --ignore-scripts && node build.mjs
import { build } from 'esbuild';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, '../static');
const making = `${out}.making`;
const fontsource = (name) => join(here, 'node_modules/@fontsource-variable', name);

// Under the names by which the style sheets ask for them.
const FONTS = {
  'text.woff2': join(fontsource('atkinson-hyperlegible-next'), 'files/atkinson-hyperlegible-next-latin-wght-normal.woff2'),
  'text-ext.woff2': join(fontsource('atkinson-hyperlegible-next'), 'files/atkinson-hyperlegible-next-latin-ext-wght-normal.woff2'),
  'display.woff2': join(fontsource('bricolage-grotesque'), 'files/bricolage-grotesque-latin-wght-normal.woff2'),
  'mono.woff2': join(fontsource('atkinson-hyperlegible-mono'), 'files/atkinson-hyperlegible-mono-latin-wght-normal.woff2'),
};
// Sections add their own scripts here; `site.js` is on every page.
const ENTRIES = ['site.css', 'js/site.js', 'control.css', 'js/control.js', 'js/audit.js'];

const names = {};
const put = (name, content) => {
  const digest = createHash('sha256').update(content).digest('hex').slice(0, 12);
  const kind = extname(name);
  names[name] = `${basename(name, kind)}-${digest}${kind}`;
  writeFileSync(join(making, names[name]), content);
};

rmSync(making, { recursive: true, force: true });
mkdirSync(making, { recursive: true });
for (const [name, path] of Object.entries(FONTS)) put(name, readFileSync(path));
put('icon.svg', readFileSync(join(here, 'icon.svg')));
put('fonts-licence.txt', ['atkinson-hyperlegible-next', 'bricolage-grotesque', 'atkinson-hyperlegible-mono']
  .map((name) => readFileSync(join(fontsource(name), 'LICENSE'), 'utf8')).join('\n\n'));

const bundled = await build({
  absWorkingDir: here,
  entryPoints: ENTRIES,
  outdir: 'out',
  bundle: true,
  minify: true,
  write: false,
  target: ['es2022', 'chrome115', 'firefox115', 'safari16.4'],
  supported: { 'color-functions': true, nesting: true },
  legalComments: 'none',
  plugins: [{
    name: 'fonts by their built names',
    setup: ({ onResolve }) => onResolve({ filter: /\.woff2$/ }, ({ path }) => ({ path: `/assets/${names[path]}`, external: true })),
  }],
});
for (const file of bundled.outputFiles) put(basename(file.path), file.contents);
writeFileSync(join(making, 'names.json'), JSON.stringify(names, null, 1));
rmSync(out, { recursive: true, force: true });
renameSync(making, out);
