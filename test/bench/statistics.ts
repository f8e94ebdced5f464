// Medians and spreads: on a shared machine a single figure says little.

export interface Spread { median: number; min: number; max: number }

export const percentile = (values: readonly number[], part: number): number => {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN;
};

export const spread = (values: readonly number[]): Spread => ({ median: percentile(values, 0.5), min: Math.min(...values), max: Math.max(...values) });

export const digits = (value: number): string => {
  const size = Math.abs(value);
  return size >= 100 ? Math.round(value).toLocaleString('en-US') : size >= 10 ? value.toFixed(1) : value.toFixed(2);
};

export const show = ({ median, min, max }: Spread): string => `${digits(median)} (${digits(min)}..${digits(max)})`;

