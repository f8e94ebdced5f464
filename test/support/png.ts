// Writes a picture smaller than a browser does, without losing a pixel: the filter that suits flat colours, and all the compression there is.
import { crc32, deflateSync, inflateSync } from 'node:zlib';

const SIGNATURE = 8, CHANNELS: Record<number, number> = { 2: 3, 6: 4 };

export function shrink(png: Buffer): Buffer {
  const header = png.subarray(SIGNATURE + 8, SIGNATURE + 21), width = header.readUInt32BE(0), height = header.readUInt32BE(4), channels = CHANNELS[header[9] ?? -1];
  if (header[8] !== 8 || channels === undefined || header[12] !== 0) throw new Error('only plain pictures of 8 bits a channel');
  const data: Buffer[] = [];
  for (let at = SIGNATURE; at < png.length; at += 12 + png.readUInt32BE(at)) {
    if (png.toString('latin1', at + 4, at + 8) === 'IDAT') data.push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)));
  }
  const lines = inflateSync(Buffer.concat(data)), stride = width * channels, pixels = Buffer.alloc(stride * height);
  for (let y = 0; y < height; y++) {
    const filter = lines[y * (stride + 1)] ?? 0;
    for (let x = 0; x < stride; x++) {
      const here = y * stride + x, left = x < channels ? 0 : pixels[here - channels]!, up = y === 0 ? 0 : pixels[here - stride]!, corner = y === 0 || x < channels ? 0 : pixels[here - stride - channels]!; // inside the picture
      pixels[here] = lines[y * (stride + 1) + 1 + x]! + [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter]!; // the five filters there are
    }
  }
  const opaque = channels === 3 ? pixels : Buffer.from(pixels.filter((_, index) => index % 4 !== 3));
  const unfiltered = Buffer.concat(Array.from({ length: height }, (_, y) => Buffer.concat([Buffer.of(0), opaque.subarray(y * width * 3, (y + 1) * width * 3)])));
  return encode(width, height, 2, unfiltered, palette(opaque, width, height));
}

function paeth(left: number, up: number, corner: number): number {
  const [byLeft, byUp, byCorner] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
  return byLeft <= byUp && byLeft <= byCorner ? left : byUp <= byCorner ? up : corner;
}

/** One byte for a pixel, where there are few enough colours. */
function palette(rgb: Buffer, width: number, height: number): { colours: Buffer; lines: Buffer } | undefined {
  const known = new Map<number, number>(), lines = Buffer.alloc((width + 1) * height);
  for (let pixel = 0; pixel < width * height; pixel++) {
    const colour = rgb.readUIntBE(pixel * 3, 3);
    let index = known.get(colour);
    if (index === undefined) {
      if (known.size === 256) return undefined;
      known.set(colour, index = known.size);
    }
    lines[Math.floor(pixel / width) + 1 + pixel] = index;
  }
  return { colours: Buffer.concat([...known.keys()].map((colour) => Buffer.of(colour >> 16, (colour >> 8) & 255, colour & 255))), lines };
}

function encode(width: number, height: number, type: number, lines: Buffer, indexed?: { colours: Buffer; lines: Buffer }): Buffer {
  const chunk = (name: string, body: Buffer) => {
    const named = Buffer.concat([Buffer.from(name), body]), length = Buffer.alloc(4), sum = Buffer.alloc(4);
    length.writeUInt32BE(body.length);
    sum.writeUInt32BE(crc32(named));
    return Buffer.concat([length, named, sum]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, indexed ? 3 : type, 0, 0, 0], 8);
  return Buffer.concat([Buffer.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a), chunk('IHDR', header), ...(indexed ? [chunk('PLTE', indexed.colours)] : []),
    chunk('IDAT', deflateSync(indexed?.lines ?? lines, { level: 9, memLevel: 9 })), chunk('IEND', Buffer.alloc(0))]);
}
