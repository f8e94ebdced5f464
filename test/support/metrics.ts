// Reads a page of metrics, as Prometheus would.

export interface Scrape {
  readonly text: string;
  /** The sum of the samples of this name that carry these labels; 0 when there are none. */
  value(name: string, labels?: Record<string, string>): number;
}

export async function scrape(url: string): Promise<Scrape> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const samples = text.split('\n').filter((line) => line && !line.startsWith('#')).map((line) => {
    const [, name = '', labels = '', value = ''] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    return { name, labels: Object.fromEntries([...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map((match) => [match[1], match[2]])), value: Number(value) };
  });
  return {
    text,
    value: (wanted, which = {}) => samples.filter(({ name, labels }) => name === wanted && Object.entries(which).every(([label, value]) => labels[label] === value)).reduce((sum, { value }) => sum + value, 0),
  };
}
