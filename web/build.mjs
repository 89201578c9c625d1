// Builds the explorer into dist/: one page template, hashed assets, their list, and the licences of
// what is inside. It reads nothing but this folder, so the same inputs give the same bytes.

import { createHash } from "node:crypto";
import { mkdir, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { dirname, extname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { licences } from "./licences.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const DIST = join(HERE, "dist");
const SERVED_UNDER = "/explorer/";
const DIST_BYTES_MAX = 5 * 1024 * 1024;
const MEDIA_TYPES = {
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
  ".woff2": "font/woff2",
};

// GraphiQL's stylesheet carries its fonts as data: addresses, which a strict policy refuses.
const withoutEmbeddedFonts = {
  name: "without-embedded-fonts",
  setup(builder) {
    builder.onLoad({ filter: /graphiql[\\/]dist[\\/]style\.css$/ }, async ({ path }) => {
      const css = await readFile(path, "utf8");
      return { contents: css.replaceAll(/@font-face\s*\{[^}]*\}/g, ""), loader: "css" };
    });
  },
};

const bundled = async () =>
  build({
    absWorkingDir: HERE,
    entryPoints: { explorer: "src/main.tsx", icon: "src/icon.svg" },
    entryNames: "[name]-[hash]",
    chunkNames: "chunk-[hash]",
    assetNames: "[name]-[hash]",
    outdir: DIST,
    publicPath: SERVED_UNDER,
    bundle: true,
    splitting: true,
    format: "esm",
    target: ["es2022"],
    minify: true,
    metafile: true,
    jsx: "automatic",
    legalComments: "none",
    define: { "process.env.NODE_ENV": '"production"' },
    loader: { ".graphql": "text", ".woff2": "file", ".svg": "copy" },
    plugins: [withoutEmbeddedFonts],
    logLevel: "warning",
  });

function entry(metafile, source, extension) {
  for (const [path, output] of Object.entries(metafile.outputs)) {
    if (extension === ".css" ? output.entryPoint === source && output.cssBundle : output.entryPoint === source) {
      const found = extension === ".css" ? output.cssBundle : path;
      return SERVED_UNDER + relative(DIST, join(HERE, found));
    }
  }
  throw new Error(`no ${extension} came out of ${source}`);
}

async function writePage(metafile) {
  const template = await readFile(join(HERE, "src/index.html"), "utf8");
  const icon = (await readdir(DIST)).find((name) => name.startsWith("icon-"));
  const page = template
    .replace("__SCRIPT__", entry(metafile, "src/main.tsx", ".js"))
    .replace("__STYLE__", entry(metafile, "src/main.tsx", ".css"))
    .replace("__ICON__", SERVED_UNDER + icon);
  await writeFile(join(DIST, "index.html"), page);
}

async function writeAssetList() {
  const assets = [];
  for (const path of (await readdir(DIST)).sort()) {
    const mediaType = MEDIA_TYPES[extname(path)];
    if (mediaType === undefined) continue;
    const bytes = await readFile(join(DIST, path));
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    assets.push({ path, mediaType, sizeBytes: bytes.length, sha256 });
  }
  await writeFile(join(DIST, "assets.json"), `${JSON.stringify({ servedUnder: SERVED_UNDER, assets }, null, 1)}\n`);
}

async function totalBytes() {
  let total = 0;
  for (const name of await readdir(DIST)) total += (await stat(join(DIST, name))).size;
  return total;
}

await rm(DIST, { recursive: true, force: true });
await mkdir(DIST, { recursive: true });
const { metafile } = await bundled();
await writePage(metafile);
await writeAssetList();
await writeFile(join(HERE, "LICENSES.txt"), await licences(HERE, metafile));
const total = await totalBytes();
if (total > DIST_BYTES_MAX) throw new Error(`dist/ has ${total} bytes, more than ${DIST_BYTES_MAX}`);
console.log(`web/dist: ${(await readdir(DIST)).length} files, ${(total / 1024).toFixed(0)} KiB`);
