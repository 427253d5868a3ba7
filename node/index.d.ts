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
  /** Allows DEBUG to clients on this machine, by which `advance()` and `faults` work. */
  debug?: boolean;
  /** Any other directive of redis.conf: `maxmemory: '10mb'`, `maxmemoryPolicy: 'allkeys-lru'`, `save: [3600, 1]`. */
  [directive: string]: DirectiveValue;
}

/** The server did not start. The message ends with what it logged. */
export class StartError extends Error {}

/** The server answered with an error; the message is the reply: `WRONGTYPE Operation against ...`. */
export class ReplyError extends Error {}

/** A word of a command. Text is sent as UTF-8. */
export type Argument = string | number | bigint | Uint8Array;

/** A reply, as in RESP2: strings and statuses as text, maps as arrays. An error is only inside of an array. */
export type Reply = string | number | null | ReplyError | Reply[];

/**
 * Faults that the server commits, for tests of how a client takes them. Each call adds one, or replaces one for the same command.
 *
 * A command is named as in the protocol, in any case: `'GET'`; `'CONFIG'` for all of its subcommands, or `'CONFIG|SET'`; `'*'`
 * for every command. DEBUG, by which they are set, has none.
 */
export interface Faults {
  /** The command runs so much later; only its own connection waits. */
  delay(command: string, milliseconds: number): Promise<void>;
  /** The command is not run, and is answered with this error: `'OOM command not allowed'`. */
  error(command: string, text: string): Promise<void>;
  /**
   * Once so many more commands have been taken, whoever they come from, the connection that sends the next one is closed
   * without a reply. Once: for another, call it again.
   */
  dropConnectionAfter(commands: number): Promise<void>;
  /** Ends all faults. */
  clear(): Promise<void>;
}

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

  /** Faults that the server commits on purpose. They reject unless the server was started with `debug: true`. */
  readonly faults: Faults;

  /**
   * Runs a command as a client of its own, whose state does not outlive the call: for more, use a Redis client. Rejects with a
   * `ReplyError` when the reply is an error.
   */
  execute(command: string, ...args: Argument[]): Promise<Reply>;

  /** Removes every key of every database (FLUSHALL). */
  flush(): Promise<void>;

  /**
   * Moves the server's clock on, by milliseconds: keys expire, blocked commands time out. It cannot be moved back. Rejects
   * unless the server was started with `debug: true`.
   */
  advance(milliseconds: number): Promise<void>;

  /** What the server has logged so far. */
  log(): string;

  /** Ends the server cleanly, and with force after `timeout` milliseconds (30000). */
  stop(timeout?: number): Promise<void>;

  [Symbol.asyncDispose](): Promise<void>;
}

/** The path of the server's program. */
export const binary: string;
