// What the bench uses of autocannon, which comes without types.
declare module 'autocannon' {
  interface Options {
    url: string; connections: number; duration: number; sampleInt?: number; headers?: Record<string, string>;
    requests: readonly { method: string; path: string; headers?: Record<string, string>; body?: string }[];
  }
  interface Result { errors: number; timeouts: number; non2xx: number; '2xx': number; statusCodeStats: Record<string, unknown> }
  type Client = object;
  interface Run extends Promise<Result> {
    on(event: 'response', listener: (client: Client, status: number, bytes: number, ms: number) => void): this;
  }
  export default function autocannon(options: Options): Run;
}
