// Undoing gradviz.views.page.packing: base64, inflate, unshuffle, add up what was told from the step before.

async function inflated(text) {
  const raw = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function unpackNumbers(text, steps) {
  const planes = await inflated(text);
  const count = planes.length / 8;
  const bytes = new Uint8Array(planes.length);
  for (let plane = 0; plane < 8; plane += 1) {
    for (let i = 0, from = plane * count; i < count; i += 1) bytes[i * 8 + plane] = planes[from + i];
  }
  const words = new Uint32Array(bytes.buffer);
  for (let i = 0; i < count; i += 1) {
    if (i % steps === 0) continue;
    words[2 * i] ^= words[2 * i - 2];
    words[2 * i + 1] ^= words[2 * i - 1];
  }
  return new Float64Array(bytes.buffer);
}

async function unpackBytes(text, steps) {
  const bytes = await inflated(text);
  for (let i = 1; i < bytes.length; i += 1) if (i % steps !== 0) bytes[i] += bytes[i - 1];
  return bytes;
}

async function unpackWhole(text) {
  const planes = await inflated(text);
  const count = planes.length / 4;
  const found = new Int32Array(count);
  let sum = 0;
  for (let i = 0; i < count; i += 1) {
    sum += planes[i] | (planes[count + i] << 8) | (planes[2 * count + i] << 16) | (planes[3 * count + i] << 24);
    found[i] = sum;
  }
  return found;
}

const unpackLines = async (text) => new TextDecoder().decode(await inflated(text)).split("\n");
