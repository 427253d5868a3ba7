'use strict';
// A Tidewater server, which speaks the Redis protocol, as a value: for tests, and for programs that bring their own store.

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { Connection, ReplyError } = require('./client.js');

const binary = path.join(__dirname, 'bin', 'tidewater');

// The shell becomes the server (same process id) once it has left a watcher behind, which reads from a pipe whose other end
// only this Node process holds. A line says that all is over; the end of the pipe, that this process is gone without a
// word, however it ended: then the watcher ends the server and removes its directory. The watcher is the server's child, so
// it knows by its parent whether the server is there, and never hits another process with the same id.
const LAUNCH = `
{
    there() { read -r _ _ _ parent _ </proc/self/stat && [ "$parent" = $$ ]; }
    if ! read -r _ <&3; then
        if there; then kill -TERM $$; fi
        n=0
        while there && [ $n -lt 250 ]; do sleep 0.02; n=$((n + 1)); done
        if there; then kill -KILL $$; fi
        if [ -n "$0" ]; then rm -rf "$0"; fi
    fi
} >/dev/null 2>&1 &
exec 3<&-
exec "$@"
`;

const NOT_TO_BE_SET = new Set(['daemonize', 'supervised', 'logfile']);
const SEEN_FROM_HERE = { '*': '127.0.0.1', '0.0.0.0': '127.0.0.1', '::*': '::1', '::': '::1' };

class StartError extends Error {
  get name() {
    return 'StartError';
  }
}

/** Faults that the server commits: what `server.faults` is. */
class Faults {
  #debug;

  constructor(debug) {
    this.#debug = debug;
  }

  delay(command, milliseconds) {
    return this.#debug('FAULT', 'DELAY', command, wholeMilliseconds(milliseconds));
  }

  error(command, text) {
    return this.#debug('FAULT', 'ERROR', command, text);
  }

  dropConnectionAfter(commands) {
    return this.#debug('FAULT', 'DROP', commands);
  }

  clear() {
    return this.#debug('FAULT', 'CLEAR');
  }
}

class Server {
  #child;
  #debugConnection;
  #ended;
  #directives;
  #ownsDir;
  #stopping;

  /** Starts a server; resolves once it takes connections. */
  static async start(options = {}) {
    const server = new Server(options);
    try {
      await server.#start(options.startTimeout ?? 30_000);
    } catch (error) {
      await server.#end('SIGKILL', 1000);
      throw error;
    }
    return server;
  }

  constructor({ port = 0, dir, startTimeout, debug = false, ...directives }) {
    this.#directives = new Map([['bind', ['127.0.0.1']]]);
    if (dir === undefined) this.#directives.set('save', ['']);
    if (debug) this.#directives.set('enable-debug-command', ['local']);
    for (const [key, value] of Object.entries(directives)) {
      const name = directiveName(key);
      if (NOT_TO_BE_SET.has(name)) {
        throw new TypeError(`${name}: the server is this process's child and its log is kept in the directory`);
      }
      if (value !== undefined && value !== null) this.#directives.set(name, words(value));
    }
    this.#ownsDir = dir === undefined;
    this.dir = this.#ownsDir ? fs.mkdtempSync(path.join(os.tmpdir(), 'tidewater-')) : path.resolve(dir);
    this.port = port;
    const bind = this.#directives.get('bind')[0].replace(/^-/, '');
    this.host = SEEN_FROM_HERE[bind] ?? bind;
    this.faults = new Faults((...words) => this.#debug(...words));
  }

  async #start(timeout) {
    const args = ['--port', String(this.port), '--print-port', '--dir', this.dir];
    for (const [name, value] of this.#directives) args.push(`--${name}`, ...value);
    const log = fs.openSync(this.#logFile, 'w');
    try {
      this.#child = spawn('/bin/sh', ['-c', LAUNCH, this.#ownsDir ? this.dir : '', binary, ...args], {
        // The watcher's pipe is not standard input, which Node lets go of when the server ends.
        stdio: ['ignore', 'pipe', log, 'pipe'],
        // So that Ctrl-C is for this process, which then ends the server in its own time.
        detached: true,
      });
    } finally {
      fs.closeSync(log);
    }
    const child = this.#child;
    this.#ended = new Promise((resolve) => child.once('exit', resolve));
    // The watcher may be gone when it is told that all is over.
    child.stdio[3].on('error', () => {});
    const line = await firstLine(child, this.#ended, timeout);
    if (!/^\d+\n$/.test(line)) {
      const running = child.pid !== undefined && child.exitCode === null && child.signalCode === null;
      const why = running ? 'did not get ready in time' : `ended with status ${child.exitCode ?? child.signalCode}`;
      throw new StartError(`the server ${why}; its log:\n${this.log().trim() || '(empty)'}`);
    }
    this.pid = child.pid;
    this.port = Number(line);
    // A server that nobody stops must not keep the program from ending, which ends the server.
    child.unref();
    child.stdout.unref();
    child.stdio[3].unref();
  }

  get running() {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get url() {
    const password = this.#directives.get('requirepass')?.[0];
    const host = this.host.includes(':') ? `[${this.host}]` : this.host;
    return `redis://${password ? `:${encodeURIComponent(password)}@` : ''}${host}:${this.port}`;
  }

  /** Runs a command as a client of its own, whose state does not outlive the call. */
  async execute(...words) {
    const connection = this.#connect();
    try {
      return await connection.execute(...words);
    } finally {
      connection.close();
    }
  }

  /** Removes every key of every database. */
  async flush() {
    await this.execute('FLUSHALL');
  }

  /** Moves the server's clock on. */
  async advance(milliseconds) {
    await this.#debug('CLOCK', 'ADVANCE', wholeMilliseconds(milliseconds));
  }

  async #debug(...words) {
    if ((this.#directives.get('enable-debug-command')?.[0] ?? 'no').toLowerCase() === 'no') {
      throw new Error('DEBUG is not allowed: start the server with Server.start({ debug: true })');
    }
    // A connection that stays: a fault that AUTH is to answer, as '*' does, must not lock out the one who ends it.
    for (;;) {
      const kept = this.#debugConnection?.closed === false;
      if (!kept) this.#debugConnection = this.#connect();
      const connection = this.#debugConnection;
      try {
        await connection.execute('DEBUG', ...words);
        return;
      } catch (error) {
        // A client may have killed it meanwhile, CLIENT KILL TYPE normal.
        if (!(kept && connection.closed && this.running)) throw error;
      }
    }
  }

  #connect() {
    if (!this.running) throw new Error('the server does not run');
    return new Connection(this.host, this.port, this.#directives.get('requirepass')?.[0]);
  }

  /** What the server has logged so far. */
  log() {
    try {
      return fs.readFileSync(this.#logFile, 'utf8');
    } catch {
      return '';
    }
  }

  get #logFile() {
    return path.join(this.dir, 'tidewater.log');
  }

  /** Ends the server cleanly, and with force after `timeout` milliseconds. */
  stop(timeout = 30_000) {
    this.#stopping ??= this.#end('SIGTERM', timeout);
    return this.#stopping;
  }

  async #end(how, timeout) {
    this.#debugConnection?.close();
    const child = this.#child;
    if (child?.pid !== undefined) {
      child.ref();
      if (this.running) child.kill(how);
      const force = setTimeout(() => child.kill('SIGKILL'), timeout);
      await this.#ended;
      clearTimeout(force);
      child.stdio[3].end('over\n');
      child.stdout.destroy();
    }
    if (this.#ownsDir) fs.rmSync(this.dir, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose]() {
    await this.stop();
  }
}

/** The port's line, or what there was of it when the server ended instead or took too long. */
function firstLine(child, ended, timeout) {
  return new Promise((resolve, reject) => {
    let line = '';
    const timer = setTimeout(() => resolve(line), timeout);
    child.stdout.on('data', (part) => {
      line += part;
      if (line.endsWith('\n')) resolve(line);
    });
    ended.then(() => resolve(line));
    child.once('error', (error) => reject(new StartError(`the server cannot be run: ${error.message}`)));
    const done = () => clearTimeout(timer);
    child.once('error', done);
    child.stdout.once('data', done);
    ended.then(done);
  });
}

/** `maxmemoryPolicy`, `maxmemory_policy` and `maxmemory-policy` are one directive. */
function directiveName(key) {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`).replaceAll('_', '-');
}

function words(value) {
  if (typeof value === 'boolean') return [value ? 'yes' : 'no'];
  if (Array.isArray(value)) return value.length ? value.map(String) : [''];
  return [String(value)];
}

function wholeMilliseconds(span) {
  if (typeof span !== 'number' || !(span >= 0)) throw new RangeError(`no span of time in milliseconds: ${span}`);
  return Math.round(span);
}

module.exports = { ReplyError, Server, StartError, binary };
