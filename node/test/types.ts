// The declarations, as a TypeScript program uses them: compiled, never run.
import { Server, StartError, binary, type Options } from 'tidewater-server';

async function use(): Promise<string> {
  const options: Options = { port: 0, maxmemory: '10mb', appendonly: true, save: [3600, 1], hz: undefined };
  await using server = await Server.start(options);
  const port: number = server.port;
  const texts: string[] = [server.url, server.host, server.dir, server.log(), binary];
  await server.stop(1000);
  // @ts-expect-error: servers come from Server.start.
  new Server({});
  // @ts-expect-error: the port is the server's.
  server.port = 1;
  // @ts-expect-error: an object is no directive's value.
  await Server.start({ maxmemory: {} });
  return `${port} ${server.pid} ${server.running} ${texts.join()} ${new StartError('x').message}`;
}

void use;
