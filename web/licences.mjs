// Writes down whose work is in the bundle: name, version, licence and its words, for exactly those
// packages from which at least one byte was taken.

import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";

const PACKAGE = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//;
const LICENCE_FILE = /^(licen[cs]e|copying|notice)/i;

export async function licences(root, metafile) {
  const folders = new Set();
  for (const output of Object.values(metafile.outputs)) {
    for (const [input, { bytesInOutput }] of Object.entries(output.inputs)) {
      const found = PACKAGE.exec(input);
      if (found !== null && bytesInOutput > 0) folders.add(found[1]);
    }
  }
  const packages = await Promise.all([...folders].map((folder) => described(root, folder)));
  packages.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.version < b.version ? -1 : 1));

  const lines = ["What is bundled into dist/, written by the build.", ""];
  for (const { name, version, licence } of packages) lines.push(`${name} ${version}: ${licence}`);
  for (const [words, users] of byWords(packages)) {
    lines.push("", "-".repeat(72), users.join(", "), "", words);
  }
  return `${lines.join("\n")}\n`;
}

async function described(root, folder) {
  const { name, version, license, author } = JSON.parse(await readFile(join(root, folder, "package.json"), "utf8"));
  if (typeof license !== "string") throw new Error(`${name} does not say its licence`);
  const files = (await readdir(join(root, folder))).filter((file) => LICENCE_FILE.test(file)).sort();
  const texts = await Promise.all(files.map((file) => readFile(join(root, folder, file), "utf8")));
  const words = texts.join("\n").replaceAll("\r\n", "\n").trim();
  const holder = typeof author === "object" ? author.name : (author ?? `the authors of ${name}`);
  return { name, version, licence: license, holder, words };
}

function byWords(packages) {
  const users = new Map();
  for (const { name, words, licence, holder } of packages) {
    const told = words === "" ? `${licence}, copyright ${holder}. The package carries no licence file of its own.` : words;
    users.set(told, [...(users.get(told) ?? []), name]);
  }
  return users;
}
