"use strict";

// The inverse of packing.py.

/** The document of a packed text, with `arrays`: by name, each a list of rows; NaN where nothing is. */
async function unpack(text) {
  const bytes = Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const content = new Uint8Array(await new Response(stream).arrayBuffer());
  const length = new DataView(content.buffer).getUint32(0, true);
  const found = JSON.parse(new TextDecoder().decode(content.subarray(4, 4 + length)));
  const arrays = {};
  let at = 4 + length;
  for (const { name, shape, step, whole } of found.arrays) {
    const size = shape.reduce((a, b) => a * b, 1);
    const width = shape[shape.length - 1];
    const values = undifferenced(content.subarray(at, at + 4 * size), size, width, step);
    at += 4 * size;
    if (!whole) {
      for (let i = 0; i < size; i++) if (!(content[at + (i >> 3)] & (128 >> (i & 7)))) values[i] = NaN;
      at += Math.ceil(size / 8);
    }
    arrays[name] = Array.from({ length: width ? size / width : 0 }, (_, row) =>
      values.subarray(row * width, (row + 1) * width),
    );
  }
  return { ...found, arrays };
}

/** Rows of values from four planes of bytes, which hold differences with their sign in the last bit. */
function undifferenced(planes, size, width, step) {
  const values = new Float64Array(size);
  let steps = 0;
  for (let i = 0; i < size; i++) {
    if (i % width === 0) steps = 0;
    const word = planes[i] | (planes[size + i] << 8) | (planes[2 * size + i] << 16) | (planes[3 * size + i] << 24);
    steps += (word >>> 1) ^ -(word & 1);
    values[i] = steps * step;
  }
  return values;
}

/** The text of an element that the browser may not have read yet, as the page is long; null if there is none. */
async function textOf(id) {
  for (;;) {
    const element = document.getElementById(id);
    // the parser is past an element once something follows it
    if (element && (element.nextSibling || document.readyState !== "loading")) return element.textContent;
    if (document.readyState !== "loading") return null;
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}
