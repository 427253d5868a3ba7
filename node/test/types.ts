// The declarations, as a TypeScript program uses them: compiled, never run.
import { ReplyError, Server, StartError, binary, type Faults, type Options, type Reply } from 'tidewater-server';

async function use(): Promise<string> {
  const options: Options = { port: 0, maxmemory: '10mb', appendonly: true, save: [3600, 1], hz: undefined, debug: true };
  await using server = await Server.start(options);
  const port: number = server.port;
  const texts: string[] = [server.url, server.host, server.dir, server.log(), binary];
  const reply: Reply = await server.execute('SET', 'k', 1, new Uint8Array(2), 3n);
  if (reply instanceof ReplyError || Array.isArray(reply)) texts.push('a list');
  const faults: Faults = server.faults;
  const done: void[] = [await faults.delay('GET', 50), await faults.error('SET', 'OOM x'), await faults.dropConnectionAfter(3), await faults.clear()];
  await server.advance(done.length);
  await server.flush();
  await server.stop(1000);
  // @ts-expect-error: a command has a name.
  await server.execute();
  // @ts-expect-error: milliseconds.
  await server.advance('1s');
  // @ts-expect-error: servers come from Server.start.
  new Server({});
  // @ts-expect-error: the port is the server's.
  server.port = 1;
  // @ts-expect-error: an object is no directive's value.
  await Server.start({ maxmemory: {} });
  return `${port} ${server.pid} ${server.running} ${texts.join()} ${new StartError('x').message}`;
}

void use;
