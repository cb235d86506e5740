// Volumes: voxels out of the pictures of the page, and slices out of voxels.
const FOLDING = [255, 230, 0];
const READ = { willReadFrequently: true };

/** The voxels of a mosaic of axial slices, axis 0 fastest. */
async function volume(mosaic, [nx, ny, nz]) {
  const picture = new Image();
  await new Promise((done, failed) => {
    picture.onload = done;
    picture.onerror = () => failed(new Error("a picture of the page cannot be decoded"));
    picture.src = mosaic.source;
  });
  const canvas = sheet(picture.width, picture.height);
  const pen = canvas.getContext("2d", READ);
  pen.drawImage(picture, 0, 0);
  const pixels = new Uint32Array(pen.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  const voxels = new Uint8Array(nx * ny * nz);
  for (let k = 0, to = 0; k < nz; k++) {
    const top = Math.floor(k / mosaic.columns) * ny, left = (k % mosaic.columns) * nx;
    for (let j = 0; j < ny; j++) {
      let from = (top + j) * canvas.width + left;
      for (let i = 0; i < nx; i++) voxels[to++] = pixels[from++] & 255;
    }
  }
  return { voxels, shape: [nx, ny, nz] };
}

function sheet(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

function decodedField(field) {
  const text = atob(field.codes), bytes = new Uint8Array(text.length);
  for (let n = 0; n < text.length; n++) bytes[n] = text.charCodeAt(n);
  return { ...field, codes: new Int16Array(bytes.buffer) };
}

/** The slice at a fraction of the depth on its own small canvas, coloured by a table of 256 words. */
function slice(volume, plane, at, table) {
  const n = volume.shape, stride = [1, n[0], n[0] * n[1]];
  const width = n[plane.across], height = n[plane.down];
  const canvas = sheet(width, height), pen = canvas.getContext("2d");
  const image = pen.createImageData(width, height), pixels = new Uint32Array(image.data.buffer);
  const depth = n[plane.through];
  const start = Math.min(depth - 1, Math.max(0, Math.floor(at * depth))) * stride[plane.through];
  for (let y = 0, to = 0; y < height; y++) {
    let from = start + y * stride[plane.down];
    for (let x = 0; x < width; x++, from += stride[plane.across]) pixels[to++] = table[volume.voxels[from]];
  }
  pen.putImageData(image, 0, 0);
  return canvas;
}

const word = (r, g, b, a) => ((a << 24) | (b << 16) | (g << 8) | r) >>> 0;
const GREYS = Uint32Array.from({ length: 256 }, (_, v) => word(v, v, v, 255));
const STRETCHES = Uint32Array.from({ length: 256 }, (_, code) => {
  if (code === 0) return word(...FOLDING, 255);
  const size = (code - 128) / 127, alpha = Math.round(215 * Math.min(1, Math.abs(size)) ** 0.8);
  return size < 0 ? word(47, 123, 255, alpha) : word(255, 90, 54, alpha);
});
