import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { root } from "../lab/paths.ts";

// The image itself is built by hand: there is no Docker where tests run.
const run = promisify(execFile);
const read = (file: string) => readFile(join(root, file), "utf8");
const linesOf = (text: string) => text.split("\n").filter((line) => line !== "");

/** All files of a clone. */
async function files(): Promise<readonly string[]> {
  const { stdout } = await run("git", ["ls-files"], { cwd: root, maxBuffer: 1 << 24 });
  return linesOf(stdout);
}

/** What a build is given of them: the last line of .dockerignore that matches decides. */
async function buildContext(): Promise<readonly string[]> {
  const patterns = linesOf(await read(".dockerignore"));
  return (await files()).filter((file) => {
    const last = patterns.findLast((pattern) => isMatch(file, pattern.replace(/^!/, "")));
    return last === undefined || last.startsWith("!");
  });
}

/** As Docker has it: `*` matches leading dots too, and what matches a directory matches all that is in it. */
function isMatch(file: string, pattern: string): boolean {
  const parts = pattern.split(/(\*\*\/|\*)/).map((part) => {
    if (part === "**/") return "(?:.*/)?";
    return part === "*" ? "[^/]*" : RegExp.escape(part);
  });
  return new RegExp(`^${parts.join("")}(?:/|$)`).test(file);
}

/** The words of the lines COPY of a stage, without the last, which is the target. */
const copiedIn = (stage: string) =>
  linesOf(stage)
    .map((line) => line.split(/\s+/))
    .filter(([word]) => word === "COPY")
    .map((words) => words.slice(1, -1));

async function stages() {
  const [packages = "", image = ""] = (await read("hack/image/Dockerfile"))
    .split(/^FROM /m)
    .slice(1);
  return { packages, image };
}

const isSource = (file: string) => /^(?:cmd|pkg)\/.*(?<!\.test)\.ts$/.test(file);

test("a build is given the sources and what npm needs, and nothing else: no tests, no key that they use", async () => {
  const wanted = ["package.json", "package-lock.json", ".npmrc"];
  assert.deepEqual(
    (await buildContext()).toSorted(),
    [...wanted, ...(await files()).filter(isSource)].toSorted(),
  );
  const copied = copiedIn((await stages()).packages).flat();
  assert.deepEqual(copied.toSorted(), [...wanted, "cmd", "pkg"].toSorted());
});

test("the sources need only packages that `npm ci --omit=dev` installs", async () => {
  const { dependencies } = JSON.parse(await read("package.json")) as { dependencies: object };
  for (const file of (await files()).filter(isSource)) {
    const text = await read(file);
    for (const [, from = ""] of text.matchAll(/^(?:import|export) .*?from "([^."][^"]*)";$/gms)) {
      const name = from.replace(/^(@[^/]+\/[^/]+|[^@/][^/]*)\/.*$/, "$1");
      assert.ok(name.startsWith("node:") || name in dependencies, `${file} imports ${name}`);
    }
  }
});

test("all that is in the image comes from the stage that lets every user read it", async () => {
  const { packages, image } = await stages();
  assert.match(packages, /^COPY pkg .*\n(?:#.*\n)*RUN chmod -R a\+rX package\.json cmd pkg$/m);
  const paths = copiedIn(image).map(([from, ...rest]) => [from, rest.length]);
  assert.deepEqual(
    paths,
    paths.map(() => ["--from=packages", 1]),
  );
  assert.ok(paths.length > 0);
});
