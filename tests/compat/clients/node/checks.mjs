// What the Node programs share: counted checks in named groups, and where the server is.
import assert from 'node:assert/strict';

export const host = process.env.TIDEWATER_HOST;
export const port = Number(process.env.TIDEWATER_PORT);
export const password = process.env.TIDEWATER_PASSWORD;
export const every = Buffer.concat([Buffer.from(Array.from({ length: 256 }, (_, i) => i)), Buffer.from('\r\n$-1\r\n')]);
export const big = Buffer.alloc(20_000_000, every);

let held = 0;

export function ok(holds, said) {
  assert.ok(holds, said);
  held += 1;
}

export function equal(got, wanted) {
  assert.deepEqual(got, wanted);
  held += 1;
}

export async function fails(promise, kind, text) {
  const error = await promise.then((got) => new assert.AssertionError({ message: `got ${got}, wanted ${text}` }), (e) => e);
  assert.ok(error instanceof kind, `${error.constructor.name}: ${error.message}, wanted ${text}`);
  assert.match(error.message, text);
  held += 1;
}

// Waits for what no event tells.
export async function until(what, holds) {
  const end = Date.now() + 15_000;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((done) => setTimeout(done, 5));
  }
}

export const sorted = (them) => [...them].sort();
export const range = (n, of) => Array.from({ length: n }, (_, i) => of(i));

// Runs each group with what fresh opens, all of them even if one fails.
export async function run(variants, groups) {
  const failed = [];
  for (const [variant, open, close] of variants) {
    for (const [name, group] of Object.entries(groups)) {
      const before = held;
      const began = Date.now();
      let client;
      try {
        client = await open();
        let timer;
        const late = new Promise((_, no) => { timer = setTimeout(() => no(new Error('not done after 30 s')), 30_000); });
        await Promise.race([group(client, open, close), late]).finally(() => clearTimeout(timer));
        assert.ok(held > before, 'the group has checked nothing');
        console.log(`${variant} ${name}: ${held - before} in ${Date.now() - began} ms`);
      } catch (error) {
        console.log(error);
        console.log(`${variant} ${name}: FAILED`);
        failed.push(`${variant} ${name}`);
      } finally {
        if (client) await close(client);
      }
    }
  }
  if (failed.length) console.log(`failed: ${failed.join(', ')}`);
  console.log(`${held} checks`);
  process.exit(failed.length ? 1 : 0);
}
