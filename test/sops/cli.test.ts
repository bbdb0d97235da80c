import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { silent } from "../../hack/lab/progress.ts";
import { root } from "../../hack/lab/paths.ts";
import { ensureTool } from "../../hack/lab/tools.ts";
import { until } from "../../hack/lab/wait.ts";
import { generateIdentity } from "../../pkg/sops/index.ts";
import { run } from "../harness/cli.ts";

const main = join(root, "cmd", "capitan", "main.ts");
let sops: string;
let base: string;
let dir: string;
let keyFile: string;
let recipient: string;
let counter = 0;

before(async () => {
  sops = await ensureTool("sops", silent);
  base = await mkdtemp(join(tmpdir(), "capitan-secrets-"));
  keyFile = join(base, "manager.agekey");
  const made = await capitan(["init", "keys", "--offline", "--out", keyFile]);
  assert.equal(made.code, 0, made.stderr);
  recipient = made.stdout.trim();
});
beforeEach(async () => {
  dir = join(base, `case-${counter++}`);
  await mkdir(dir);
});
after(() => rm(base, { recursive: true, force: true }));

const envOf = (more: Readonly<Record<string, string>> = {}) => ({
  HOME: base,
  XDG_CONFIG_HOME: base,
  SOPS_AGE_KEY_FILE: keyFile,
  SOPS_CONFIG: join(dir ?? base, ".sops.yaml"),
  ...more,
});
const capitan = (args: readonly string[], env = {}, input = "") =>
  run(process.execPath, [main, ...args], { env: envOf(env), input });
const real = (args: readonly string[]) => run(sops, args, { env: envOf() });
const file = (name: string) => join(dir, name);
const read = (name: string) => readFile(file(name), "utf8");

const rules = () => `creation_rules:
  - path_regex: \\.sops\\.yaml$
    encrypted_regex: ^(data|stringData)$
    age: ${recipient}
  - path_regex: \\.env$
    age: ${recipient}
`;
const secret = "kind: Secret\nstringData:\n    token: s3cr3t\n    other: s3cr3t-2\n";

async function tree(): Promise<void> {
  await writeFile(file(".sops.yaml"), rules());
  await mkdir(file("a/.git"), { recursive: true });
  await writeFile(file("a/one.sops.yaml"), secret);
  await writeFile(file("a/two.env"), "A=s3cr3t\n");
  await writeFile(file("a/plain.yaml"), "kind: ConfigMap\n");
  await writeFile(file("a/.git/three.sops.yaml"), secret);
}

test("init keys makes a key that sops takes, in a file that only its owner may read, once", async () => {
  const text = await readFile(keyFile, "utf8");
  assert.match(text, /^# created: .*\n# public key: age1\w+\nAGE-SECRET-KEY-1\w+\n$/);
  assert.equal((await stat(keyFile)).mode & 0o777, 0o600);
  const again = await capitan(["init", "keys", "--offline", "--out", keyFile]);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /FileInvalid: EEXIST/);
  assert.equal(await readFile(keyFile, "utf8"), text);
});

test("init keys leaves no copy behind when the hub does not get the key", async () => {
  const out = file("lost.agekey");
  const { code } = await capitan(["init", "keys", "--out", out], { KUBECONFIG: "/nonexistent" });
  assert.equal(code, 1);
  await assert.rejects(stat(out), { code: "ENOENT" });
});

test("a whole tree is encrypted by its rules, verified, inspected and printed as sops prints it", async () => {
  await tree();
  const found = await capitan(["secrets", "encrypt", "--check", file("a")]);
  assert.deepEqual(
    [found.code, found.stdout],
    [1, `${file("a/one.sops.yaml")}\n${file("a/two.env")}\n`],
  );
  assert.equal(await read("a/one.sops.yaml"), secret, "--check writes nothing");
  const done = await capitan(["secrets", "encrypt", "-i", file("a"), "-o", "json"]);
  assert.equal(done.code, 0, done.stderr);
  assert.equal((JSON.parse(done.stdout) as { files: string[] }).files.length, 2);
  await writeFile(file("a/.sops.yaml"), rules());
  assert.equal((await capitan(["secrets", "encrypt", "--check", file("a")])).code, 0, "its rules");
  assert.equal(await read("a/.git/three.sops.yaml"), secret, ".git is left alone");
  for (const name of ["a/one.sops.yaml", "a/two.env"]) {
    const ours = await capitan(["secrets", "decrypt", file(name)]);
    const theirs = await real(["decrypt", file(name)]);
    assert.deepEqual([ours.code, ours.stdout], [0, theirs.stdout], ours.stderr);
  }
  const verified = await capitan(["secrets", "verify", file("a")]);
  assert.equal(verified.stdout, `✔ ${file("a/one.sops.yaml")}\n✔ ${file("a/two.env")}\n`);
  const seen = await capitan(["secrets", "inspect", file("a"), "-o", "json"], {
    SOPS_AGE_KEY_FILE: "",
  });
  assert.deepEqual((JSON.parse(seen.stdout) as { groups: unknown }[])[0]?.groups, [[recipient]]);
});

test("without a key CI sees what is in plaintext, what was forged clumsily, and who is not in .sops.yaml", async () => {
  await tree();
  const keyless = { SOPS_AGE_KEY_FILE: "" };
  const verify = () => capitan(["secrets", "verify", "--without-key", file("a")], keyless);
  const plain = await verify();
  assert.match(plain.stdout, /✗ .*one\.sops\.yaml: SopsFileInvalid: .*not encrypted/);
  assert.equal(plain.code, 1);
  await capitan(["secrets", "encrypt", "-i", file("a")]);
  const whole = await verify();
  const both = `✔ ${file("a/one.sops.yaml")}\n✔ ${file("a/two.env")}\n`;
  assert.deepEqual([whole.code, whole.stdout], [0, both], whole.stderr);
  const one = await read("a/one.sops.yaml");
  const stranger = one.replace(recipient, generateIdentity(randomBytes).recipient);
  const opened = one.replace(/token: ENC\[.*/, "token: plain");
  const unsigned = one.replace(/^ *mac: .*\n/m, "");
  for (const [text, code, says] of [
    [stranger, 1, /SopsConfigInvalid: its recipients/],
    [opened, 25, /SopsTampered: .*"(string)?[dD]ata:token:" is in cleartext/],
    [unsigned, 51, /SopsTampered: the file has no MAC/],
  ] as const) {
    assert.notEqual(text, one);
    await writeFile(file("a/one.sops.yaml"), text);
    const ran = await verify();
    assert.match(ran.stdout, says);
    assert.equal(ran.code, code);
  }
});

test("without a key CI lets the canary of a rotation pass, which is for one of its rule alone, and nothing else", async () => {
  const cluster = generateIdentity(randomBytes).recipient;
  await writeFile(file(".sops.yaml"), rules().replaceAll(recipient, `${recipient},${cluster}`));
  const cases = [
    ["capitan-canary.sops.yaml", cluster, 0],
    ["capitan-canary.sops.yaml", generateIdentity(randomBytes).recipient, 1],
    ["one.sops.yaml", cluster, 1],
  ] as const;
  for (const [name, only, code] of cases) {
    await rm(file("a"), { recursive: true, force: true });
    await mkdir(file("a"));
    await writeFile(file(`a/${name}`), secret);
    const how = ["--encrypted-regex", "^stringData$", "-i"];
    await capitan(["secrets", "encrypt", "--age", only, ...how, file(`a/${name}`)]);
    const ran = await capitan(["secrets", "verify", "--without-key", file("a")]);
    assert.equal(ran.code, code, `${name}: ${ran.stdout}${ran.stderr}`);
    if (code === 1) assert.match(ran.stdout, /SopsConfigInvalid: its recipients/);
  }
});

test("exit codes are those of sops, and no message has a value or a key", async () => {
  await tree();
  await capitan(["secrets", "encrypt", "-i", file("a")]);
  const one = await read("a/one.sops.yaml");
  const changed: readonly [string, string, number][] = [
    ["MAC", one.replace("kind: Secret", "kind: Evil"), 51],
    ["value", one.replace("token: ENC[AES256_GCM,data:", "token: ENC[AES256_GCM,data:AAAA"), 25],
    ["two rules", one.replace("    mac:", "    encrypted_suffix: x\n    mac:"), 1],
    ["syntax", `${one}: [`, 2],
  ];
  for (const [name, text, status] of changed) {
    await writeFile(file("x.yaml"), text);
    const ours = await capitan(["secrets", "decrypt", file("x.yaml")]);
    const theirs = await real(["decrypt", file("x.yaml")]);
    assert.deepEqual([ours.code, ours.stdout], [status, ""], `${name}: ${ours.stderr}`);
    assert.equal(theirs.code, name === "syntax" ? theirs.code : status, theirs.stderr);
    assert.doesNotMatch(ours.stderr, /s3cr3t|AGE-SECRET/);
    assert.equal((await capitan(["secrets", "verify", file("x.yaml")])).code, status, name);
  }
  await writeFile(file("x.yaml"), one);
  const stranger = await capitan(["secrets", "decrypt", file("x.yaml")], { SOPS_AGE_KEY_FILE: "" });
  assert.equal(stranger.code, 128);
  const spoilt = await capitan(["secrets", "decrypt", file("x.yaml")], {
    SOPS_AGE_KEY: "AGE-SECRET-KEY-1QQQ",
  });
  assert.equal(spoilt.code, 128);
  assert.doesNotMatch(spoilt.stderr, /KEY-1Q/);
  assert.equal((await capitan(["secrets", "encrypt", file("a/one.sops.yaml")])).code, 203);
});

test("updatekeys on a tree follows .sops.yaml, --check says what would change; rotate keeps mode and links", async () => {
  await tree();
  await capitan(["secrets", "encrypt", "-i", file("a")]);
  const other = (
    await capitan(["init", "keys", "--offline", "--out", file("other.agekey")])
  ).stdout.trim();
  await writeFile(file(".sops.yaml"), rules().replaceAll(recipient, `${recipient},${other}`));
  const asked = await capitan(["secrets", "updatekeys", "--check", file("a")]);
  assert.deepEqual([asked.code, asked.stdout.split("\n").length], [1, 3], asked.stderr);
  assert.equal((await capitan(["secrets", "updatekeys", file("a")])).code, 0);
  assert.deepEqual((await capitan(["secrets", "updatekeys", "--check", file("a")])).stdout, "");
  const opened = await capitan(["secrets", "decrypt", file("a/two.env")], {
    SOPS_AGE_KEY_FILE: file("other.agekey"),
  });
  assert.equal(opened.stdout, "A=s3cr3t\n");
  await chmod(file("a/two.env"), 0o640);
  await symlink(file("a/two.env"), file("link.env"));
  const rotated = await capitan(["secrets", "rotate", "--rm-age", other, file("link.env")]);
  assert.equal(rotated.code, 0, rotated.stderr);
  assert.equal((await stat(file("a/two.env"))).mode & 0o777, 0o640);
  assert.equal(
    (
      await capitan(["secrets", "decrypt", file("a/two.env")], {
        SOPS_AGE_KEY_FILE: file("other.agekey"),
      })
    ).code,
    128,
  );
  assert.equal((await real(["decrypt", file("a/two.env")])).stdout, "A=s3cr3t\n");
});

test("set changes one value; edit runs the editor on a file of its own and says when nothing changed", async () => {
  await tree();
  await capitan(["secrets", "encrypt", "-i", file("a")]);
  const name = file("a/one.sops.yaml");
  const where = '["stringData"]["token"]';
  assert.equal(
    (await capitan(["secrets", "set", name, where, "--value-stdin"], {}, '"n3w"')).code,
    0,
  );
  assert.match((await real(["decrypt", name])).stdout, /token: n3w\n {4}other: s3cr3t-2/);
  const editor = file("editor.sh");
  await writeFile(
    editor,
    '#!/bin/sh\nstat -c "%a %n" "$(dirname "$2")" "$2" > "$1"\nsed -i s/n3w/edited/ "$2"\n',
  );
  await chmod(editor, 0o755);
  const edited = await capitan(["secrets", "edit", name], { EDITOR: `${editor} ${file("seen")}` });
  assert.equal(edited.code, 0, edited.stderr);
  assert.match((await real(["decrypt", name])).stdout, /token: edited/);
  const [directory = "", inside = ""] = (await read("seen")).trim().split("\n");
  assert.match(directory, /^700 \/dev\/shm\/capitan-|^700 /);
  assert.match(inside, /^600 /);
  await assert.rejects(stat(directory.slice(4)), { code: "ENOENT" });
  assert.equal((await capitan(["secrets", "edit", name], { EDITOR: "true" })).code, 200);
  assert.equal((await capitan(["secrets", "edit", name], { EDITOR: "false" })).code, 1);
});

test("S8 a rule with a plugin's name runs nothing", async () => {
  await tree();
  await mkdir(file("bin"));
  await writeFile(file("bin/age-plugin-evil"), `#!/bin/sh\ntouch ${file("ran")}\n`, {
    mode: 0o755,
  });
  const env = { PATH: `${file("bin")}:${process.env["PATH"] ?? ""}` };
  for (const age of ["age1evil1qqq", "age1plugin-evil", "../bin/age-plugin-evil"]) {
    const { code, stderr } = await capitan(
      ["secrets", "encrypt", "--age", age, file("a/one.sops.yaml")],
      env,
    );
    assert.equal(code, 1);
    assert.match(stderr, /RecipientInvalid/);
  }
  await assert.rejects(stat(file("ran")), { code: "ENOENT" });
});

test("S10 killed in the editor, in the middle of a rotation: no plaintext on a disk, whole files", async () => {
  await tree();
  const names = Array.from({ length: 30 }, (_, i) => file(`a/f${i}.sops.yaml`));
  for (const name of names) await writeFile(name, secret.repeat(1));
  await capitan(["secrets", "encrypt", "-i", file("a")]);
  const scratch = file("tmp");
  await mkdir(scratch);
  const env = {
    ...process.env,
    ...envOf({ TMPDIR: scratch, EDITOR: `${file("wait.sh")} ${file("open")}` }),
  };
  await writeFile(file("wait.sh"), '#!/bin/sh\necho "$2 $$" > "$1"\nexec sleep 60\n', {
    mode: 0o755,
  });
  const editing = spawn(process.execPath, [main, "secrets", "edit", names[0] ?? ""], {
    env,
    stdio: "ignore",
  });
  const isOpen = async () => (await read("open")).includes(" ");
  await until(isOpen, { deadlineMs: 30_000, what: "the editor" });
  const [plaintext = "", editor = ""] = (await read("open")).trim().split(" ");
  editing.kill("SIGKILL");
  await new Promise((resolve) => editing.once("exit", resolve));
  process.kill(Number(editor));
  assert.match(plaintext, /^\/dev\/shm\/capitan-/, "what a killed edit leaves is in memory");
  assert.deepEqual(await readdir(scratch), [], "nothing in the directory for temporary files");
  await rm(join(plaintext, ".."), { recursive: true, force: true });
  for (const delayMs of [120, 180, 240, 320, 420]) {
    const rotating = spawn(process.execPath, [main, "secrets", "rotate", file("a")], {
      env,
      stdio: "ignore",
    });
    const end = new Promise((resolve) => rotating.once("exit", resolve));
    const timer = setTimeout(() => rotating.kill("SIGKILL"), delayMs);
    await end;
    clearTimeout(timer);
  }
  for (const path of await filesBelow(dir)) {
    if (/\.git\//.test(path)) continue;
    assert.doesNotMatch(await readFile(path, "latin1"), /s3cr3t/, path);
  }
  const verified = await capitan(["secrets", "verify", file("a")]);
  assert.equal(verified.code, 0, verified.stdout);
});

async function filesBelow(directory: string): Promise<readonly string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}
