// Types of tidewater-server.
/// <reference lib="esnext.disposable" />

/** What a directive may be set to: one value, or several words of one line. `undefined` leaves it at its default. */
export type DirectiveValue = string | number | boolean | ReadonlyArray<string | number> | undefined;

export interface Options {
  /** The port; 0, the default, picks a free one. */
  port?: number;
  /** A directory for the server's files, which stays. Save points are then the server's defaults. */
  dir?: string;
  /** Milliseconds until a server that is not ready counts as failed: 30000. */
  startTimeout?: number;
  /** Any other directive of redis.conf: `maxmemory: '10mb'`, `maxmemoryPolicy: 'allkeys-lru'`, `save: [3600, 1]`. */
  [directive: string]: DirectiveValue;
}

/** The server did not start. The message ends with what it logged. */
export class StartError extends Error {}

/**
 * A server in a process of its own, on this machine.
 *
 * It listens on 127.0.0.1 and a free port, keeps its files in a temporary directory that goes with it, and writes no dump.
 * It ends with `stop()`, with an `await using` block, or with this process, even when that is killed.
 */
export class Server implements AsyncDisposable {
  private constructor(options: Options);

  /** Starts a server; resolves once it takes connections, and rejects with a `StartError` when it does not start. */
  static start(options?: Options): Promise<Server>;

  /** The port it listens on. */
  readonly port: number;
  /** The address it listens on. */
  readonly host: string;
  /** `redis://HOST:PORT`, with the password of the `requirepass` directive if there is one. */
  readonly url: string;
  /** The server's process id. */
  readonly pid: number;
  /** The directory of the server's files. A temporary one is removed by `stop()`. */
  readonly dir: string;
  /** Whether the server's process is there. */
  readonly running: boolean;

  /** What the server has logged so far. */
  log(): string;

  /** Ends the server cleanly, and with force after `timeout` milliseconds (30000). */
  stop(timeout?: number): Promise<void>;

  [Symbol.asyncDispose](): Promise<void>;
}

/** The path of the server's program. */
export const binary: string;
