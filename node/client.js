'use strict';
// As much of a Redis client as the package's Server needs itself: requests and their replies, in RESP2.

const net = require('node:net');

class ReplyError extends Error {
  get name() {
    return 'ReplyError';
  }
}

/** A connection; what was asked first is answered first. While a reply is awaited, and only then, it keeps the process from ending. */
class Connection {
  #socket;
  #parts = [];
  #length = 0;
  #needed = 0;
  #waiting = [];
  #failure = null;

  constructor(host, port, password) {
    this.#socket = net.connect({ host, port, noDelay: true });
    this.#socket.on('data', (data) => this.#take(data));
    this.#socket.on('error', (error) => this.#fail(error));
    this.#socket.on('close', () => this.#fail(Object.assign(new Error('the server closed the connection'), { code: 'ECONNRESET' })));
    // Only when there is one: faults count commands. If it fails, whoever waits is told why.
    if (password) this.#send(['AUTH', password], { resolve() {}, reject: (error) => this.#fail(error) });
  }

  /** Sends a command; resolves to its reply. */
  execute(...words) {
    return new Promise((resolve, reject) => {
      if (!words.length) throw new TypeError('a command has a name');
      if (this.#failure) throw this.#failure;
      this.#send(words, { resolve, reject });
    });
  }

  #send(words, waiting) {
    const parts = [Buffer.from(`*${words.length}\r\n`)];
    for (const word of words.map(bytes)) parts.push(Buffer.from(`$${word.length}\r\n`), word, Buffer.from('\r\n'));
    this.#waiting.push(waiting);
    this.#socket.ref();
    this.#socket.write(Buffer.concat(parts));
  }

  get closed() {
    return this.#failure !== null;
  }

  close() {
    this.#socket.destroy();
    this.#fail(new Error('the connection was closed'));
  }

  #fail(error) {
    this.#failure ??= error;
    this.#socket.destroy();
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
  }

  #take(part) {
    this.#parts.push(part);
    this.#length += part.length;
    // A long string is put together once, when all of it is there.
    if (this.#length < this.#needed) return;
    let data = Buffer.concat(this.#parts);
    this.#needed = 0;
    try {
      while (data.length && this.#waiting.length) {
        const read = reply(data, 0);
        if (read.needed) {
          this.#needed = read.needed;
          break;
        }
        data = data.subarray(read.end);
        const { resolve, reject } = this.#waiting.shift();
        if (read.value instanceof ReplyError) reject(read.value);
        else resolve(read.value);
      }
    } catch (error) {
      this.#fail(error);
    }
    this.#parts = [data];
    this.#length = data.length;
    if (!this.#waiting.length) this.#socket.unref();
  }
}

/** The reply that starts at an offset, and where it ends; or how many bytes are needed at least, while it is not all there. */
function reply(data, at) {
  const line = data.indexOf('\r\n', at);
  if (line < 0) return { needed: data.length + 1 };
  const [kind, rest, start] = [String.fromCharCode(data[at]), data.toString('utf8', at + 1, line), line + 2];
  switch (kind) {
    case '+':
      return { value: rest, end: start };
    case '-':
      return { value: new ReplyError(rest), end: start };
    case ':':
      return { value: Number(rest), end: start };
    case '$': {
      const length = Number(rest);
      if (length < 0) return { value: null, end: start };
      const end = start + length + 2;
      return data.length < end ? { needed: end } : { value: data.toString('utf8', start, end - 2), end };
    }
    case '*': {
      if (rest === '-1') return { value: null, end: start };
      const value = [];
      let end = start;
      for (let left = Number(rest); left > 0; left--) {
        const element = reply(data, end);
        if (element.needed) return element;
        value.push(element.value);
        end = element.end;
      }
      return { value, end };
    }
    default:
      // After HELLO 3.
      throw new Error(`a reply that is not of RESP2: ${kind}${rest.slice(0, 60)}`);
  }
}

function bytes(word) {
  if (typeof word === 'string') return Buffer.from(word);
  if (typeof word === 'number' || typeof word === 'bigint') return Buffer.from(String(word));
  if (word instanceof Uint8Array) return Buffer.from(word.buffer, word.byteOffset, word.byteLength);
  throw new TypeError(`a word of a command is a string, a number or bytes, not ${word === null ? 'null' : typeof word}`);
}

module.exports = { Connection, ReplyError };
