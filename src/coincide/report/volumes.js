// Volumes: voxels out of the pictures of the page.
const READ = { willReadFrequently: true };
const PLANES = [{ across: 0, down: 1, through: 2 }, { across: 0, down: 2, through: 1 }, { across: 1, down: 2, through: 0 }];

function sheet(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

async function pixelsOf(source) {
  const picture = new Image();
  await new Promise((done, failed) => {
    picture.onload = done;
    picture.onerror = () => failed(new Error("a picture of the page cannot be decoded"));
    picture.src = source;
  });
  const canvas = sheet(picture.width, picture.height), pen = canvas.getContext("2d", READ);
  pen.drawImage(picture, 0, 0);
  return pen.getImageData(0, 0, canvas.width, canvas.height);
}

/** The voxels of a mosaic of axial slices, axis 0 fastest; of colours one channel after the other. */
async function volume(mosaic, [nx, ny, nz]) {
  const size = nx * ny * nz, { columns, rows, channels, wide } = mosaic;
  const voxels = wide ? new Uint16Array(size) : new Uint8Array(size * channels);
  for (const [number, source] of mosaic.sources.entries()) {
    const { data, width } = await pixelsOf(source), first = number * columns * rows;
    for (let k = first; k < Math.min(nz, first + columns * rows); k++) {
      const top = Math.floor((k - first) / columns) * ny, left = ((k - first) % columns) * nx;
      for (let j = 0, to = k * nx * ny; j < ny; j++) {
        let from = 4 * ((top + j) * width + left);
        for (let i = 0; i < nx; i++, to++, from += 4) {
          voxels[to] = wide ? data[from] | (data[from + 1] << 8) : data[from];
          if (channels === 3) {
            voxels[size + to] = data[from + 1];
            voxels[2 * size + to] = data[from + 2];
          }
        }
      }
    }
  }
  return { voxels, channels, size, shape: [nx, ny, nz] };
}

/** One channel of one slice, row by row; channel -1 is the brightness of colours. */
function values(volume, plane, index, channel = 0) {
  const n = volume.shape, stride = [1, n[0], n[0] * n[1]], { voxels, size } = volume;
  const width = n[plane.across], height = n[plane.down], right = stride[plane.across];
  const out = new (volume.voxels.constructor)(width * height), light = channel < 0 && volume.channels === 3;
  const start = Math.min(n[plane.through] - 1, Math.max(0, index)) * stride[plane.through] + size * Math.max(0, channel);
  for (let y = 0, to = 0; y < height; y++) {
    let from = start + y * stride[plane.down];
    for (let x = 0; x < width; x++, from += right) {
      out[to++] = light ? 0.2126 * voxels[from] + 0.7152 * voxels[from + size] + 0.0722 * voxels[from + 2 * size] : voxels[from];
    }
  }
  return { values: out, width, height };
}

function decodedField(field) {
  const text = atob(field.codes), bytes = new Uint8Array(text.length);
  for (let n = 0; n < text.length; n++) bytes[n] = text.charCodeAt(n);
  return { ...field, codes: new Int16Array(bytes.buffer) };
}
