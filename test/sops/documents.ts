import type { Format, Rule } from "../../pkg/sops/index.ts";

/** A plain file that was made up, how it is to be encrypted, and what is special in it. */
export type Sample = {
  readonly format: Format;
  readonly file: Buffer;
  readonly rule: Rule | undefined;
  readonly macOnly: boolean;
  /** How many recipients each key group has. */
  readonly groups: readonly number[];
  readonly features: ReadonlySet<string>;
};

/** A small generator of numbers (mulberry32), so that a seed always gives the same documents. */
export class Dice {
  #state: number;
  readonly features = new Set<string>();

  constructor(seed: number) {
    this.#state = seed;
  }

  /** From 0 to `below` - 1. */
  roll(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  }

  chance(percent: number): boolean {
    return this.roll(100) < percent;
  }

  pick<T>(all: readonly T[]): T {
    const picked = all[this.roll(all.length)];
    if (picked === undefined) throw new Error("nothing to pick from");
    return picked;
  }

  feature<T>(name: string, value: T): T {
    this.features.add(name);
    return value;
  }
}

const rules: readonly Rule[] = [
  { kind: "encrypted_regex", pattern: "^(data|stringData|k.*)$" },
  { kind: "unencrypted_regex", pattern: "(?i)^PUB|na" },
  { kind: "encrypted_suffix", pattern: "_enc" },
  { kind: "unencrypted_suffix", pattern: "_pub" },
];

/** Makes up a file. */
export function sample(seed: number): Sample {
  const dice = new Dice(seed);
  const format = dice.pick([
    "yaml",
    "yaml",
    "yaml",
    "yaml",
    "json",
    "dotenv",
    "ini",
    "binary",
  ] as const);
  dice.feature(format, 0);
  const file = Buffer.from(makers[format](dice), format === "binary" ? "latin1" : "utf8");
  const usesRule = format !== "binary" && dice.chance(40);
  const rule = usesRule ? dice.pick(rules) : undefined;
  if (rule !== undefined) dice.feature(rule.kind, 0);
  const macOnly = dice.chance(20) && dice.feature("mac_only_encrypted", true);
  const groups = dice.chance(12)
    ? dice.feature(
        "key groups",
        dice.pick([
          [1, 1],
          [1, 2, 1],
        ]),
      )
    : [dice.chance(40) ? dice.feature("two recipients", 2) : 1];
  return { format, file, rule, macOnly, groups, features: dice.features };
}

const makers: Readonly<Record<Format, (dice: Dice) => string>> = {
  yaml: yamlFile,
  json: jsonFile,
  dotenv: dotenvFile,
  ini: iniFile,
  binary: (dice) =>
    Array.from({ length: dice.roll(400) }, () => String.fromCharCode(dice.roll(256))).join(""),
};

const words = [
  "data",
  "stringData",
  "name",
  "key",
  "pub",
  "token",
  "kind",
  "x_pub",
  "x_enc",
  "PUBLIC",
];

function keyOf(dice: Dice, taken: Set<string>): string {
  let key = dice.pick(words);
  const kind = dice.roll(100);
  if (kind < 6) key = dice.feature("digit key", `${dice.roll(5000)}`);
  else if (kind < 11) key = dice.feature("colon in key", `a:${dice.roll(9)}:b`);
  else if (kind < 16) key = dice.feature("unicode key", `schlüssel-${dice.roll(9)}-鍵`);
  else if (kind < 19)
    key = dice.feature("hostile key", dice.pick(["__proto__", "constructor", "toString"]));
  else if (kind < 23)
    key = dice.feature(
      "word key",
      dice.pick(["y", "no", "null", "true", "~", "1.5", "a b", "-x", "?z", "#h"]),
    );
  while (taken.has(key)) key += dice.roll(10);
  taken.add(key);
  return key;
}

const strings: readonly ((dice: Dice) => string)[] = [
  (dice) => `value-${dice.roll(1e6)}`,
  (dice) => dice.feature("empty string", ""),
  (dice) => dice.feature("unicode", dice.pick(["grüße", "日本語", "emoji 🎉", "Ω≈ç√", "a\u00a0b"])),
  (dice) =>
    dice.feature(
      "multi-line",
      dice.pick([
        "a\nb\n",
        "a\n\nb",
        "x\n",
        "l1\n l2\nl3\n\n",
        " lead\nb",
        "-----BEGIN K-----\nYWJj\n-----END K-----\n",
      ]),
    ),
  (dice) =>
    dice.feature(
      "looks otherwise",
      dice.pick([
        "true",
        "no",
        "1.20",
        "0777",
        "null",
        "~",
        "2024-01-02",
        "1:30",
        "0x1F",
        "1e3",
        ".inf",
        "<<",
        "=",
        "1_000",
        "off",
        "08",
      ]),
    ),
  (dice) =>
    dice.feature(
      "punctuation",
      dice.pick([
        "a: b",
        "a #b",
        "#c",
        "- d",
        "[e]",
        "{f}",
        "*g",
        "&h",
        "!i",
        "|",
        ">",
        "%j",
        "@k",
        "`l",
        "'m'",
        '"n"',
        "a\\b",
        "x:",
        "?",
        "-",
        "--- a",
        "a,b",
        "trail ",
        " lead",
        "tab\there",
        "<&>",
      ]),
    ),
];

const json = JSON.stringify;

type Scalar = { readonly text: string; readonly isBlock?: boolean };

function plainScalar(dice: Dice): string {
  const kind = dice.roll(8);
  if (kind === 0)
    return dice.feature(
      "int",
      dice.pick([
        "0",
        "-7",
        "42",
        "9223372036854775807",
        "-9223372036854775808",
        "0777",
        "0x1F",
        "1_000",
        "0b101",
        "0o17",
        "+12",
      ]),
    );
  if (kind === 1)
    return dice.feature(
      "float",
      dice.pick([
        "1.5",
        "1.10",
        "-0.0",
        "1e21",
        "1e-7",
        "2.5e10",
        ".5",
        "08",
        "1_0.5",
        "5e-324",
        ".inf",
        "-.inf",
        ".nan",
        "123456789.125",
        "9223372036854775808000",
        "1.0",
      ]),
    );
  if (kind === 2) return dice.feature("bool", dice.pick(["true", "False", "TRUE"]));
  if (kind === 3)
    return dice.feature(
      "time",
      dice.pick([
        "2024-01-02",
        "2024-1-2",
        "2024-01-02T03:04:05Z",
        "2024-01-02T03:04:05.5+02:00",
        "2024-01-02 03:04:05",
        "2024-01-02T03:04:05+00:00",
        "2024-02-29",
      ]),
    );
  if (kind === 4) return dice.feature("null", dice.pick(["null", "~", "", "Null"]));
  return `plain${dice.roll(1000)}`;
}

function yamlScalar(dice: Dice, indent: number, inFlow: boolean): Scalar {
  if (dice.chance(45)) {
    const text = plainScalar(dice);
    return { text: inFlow && text === "" ? "null" : text };
  }
  const value = dice.pick(strings)(dice);
  if (!inFlow && value.includes("\n") && !value.startsWith(" ") && dice.chance(60)) {
    const chomp = value.endsWith("\n\n") ? "+" : value.endsWith("\n") ? "" : "-";
    const lines = value.replace(/\n$/, "").split("\n");
    const pad = " ".repeat(indent + 2);
    return {
      text: `|${chomp}\n${lines.map((line) => (line === "" ? "" : pad + line)).join("\n")}`,
      isBlock: true,
    };
  }
  if (!value.includes("\n") && !value.includes("\t") && dice.chance(30))
    return { text: `'${value.replaceAll("'", "''")}'` };
  return { text: json(value) };
}

function yamlKey(dice: Dice, taken: Set<string>): string {
  const key = keyOf(dice, taken);
  const isPlain = /^[A-Za-z_][\w-]*$/.test(key) && !/^(?:y|no|null|true)$/.test(key);
  return isPlain && dice.chance(90) ? key : json(key);
}

function yamlFlow(dice: Dice, depth: number): string {
  if (depth <= 0 || dice.chance(50)) return yamlScalar(dice, 0, true).text;
  const count = dice.roll(4);
  if (dice.chance(50))
    return dice.feature(
      "flow",
      `[${Array.from({ length: count }, () => yamlFlow(dice, depth - 1)).join(", ")}]`,
    );
  const taken = new Set<string>();
  return dice.feature(
    "flow",
    `{${Array.from({ length: count }, () => `${yamlKey(dice, taken)}: ${yamlFlow(dice, depth - 1)}`).join(", ")}}`,
  );
}

/** Comment lines above something, blank lines among them. */
function yamlAbove(dice: Dice, indent: number, mayGap: boolean): string {
  if (!dice.chance(14)) return dice.chance(4) ? "\n" : "";
  const lines = Array.from(
    { length: 1 + dice.roll(2) },
    () => `${" ".repeat(indent)}# note ${dice.roll(100)}\n`,
  );
  const gap = mayGap && dice.chance(15) ? "\n" : "";
  const before = dice.chance(20) ? "\n" : "";
  return dice.feature("comment", before + lines.join("") + gap);
}

const inline = (dice: Dice) =>
  dice.chance(8) ? dice.feature("inline comment", ` # at ${dice.roll(100)}`) : "";

type Scope = { readonly anchors: string[]; readonly indent: number; readonly depth: number };

function yamlMap(dice: Dice, scope: Scope, count: number): string {
  const { indent, depth } = scope;
  const taken = new Set<string>();
  let out = "";
  for (let i = 0; i < count; i++) {
    const pad = " ".repeat(indent);
    out += yamlAbove(dice, indent, i > 0 && !/\n *-[^\n]*\n$/.test(out));
    if (i === 0 && depth < 4 && scope.anchors.length > 0 && dice.chance(45)) {
      out += dice.feature("merge", `${pad}<<: *${dice.pick(scope.anchors)}\n`);
      taken.add("<<");
      continue;
    }
    out += `${pad}${yamlKey(dice, taken)}:${yamlValue(dice, scope)}`;
  }
  return out;
}

function yamlValue(dice: Dice, scope: Scope): string {
  const { indent, depth, anchors } = scope;
  const inner = { ...scope, depth: depth - 1, indent: indent + dice.pick([2, 4]) };
  const kind = dice.roll(10);
  if (depth > 0 && kind < 2) {
    const name = dice.chance(20)
      ? dice.feature("anchor", `a${anchors.length}x${dice.roll(1e6)}`)
      : "";
    const anchor = name === "" ? "" : ` &${name}`;
    const map = `${anchor}${anchor === "" ? inline(dice) : ""}\n${yamlMap(dice, inner, 1 + dice.roll(3))}`;
    if (name !== "") anchors.push(name);
    return dice.feature("nesting", map);
  }
  if (depth > 0 && kind < 4) {
    const at = dice.chance(30) ? indent : inner.indent;
    return dice.feature("list", `\n${yamlList(dice, { ...inner, indent: at }, 1 + dice.roll(3))}`);
  }
  if (kind === 4) return ` ${yamlFlow(dice, 2)}\n`;
  return yamlLine(dice, indent);
}

function yamlLine(dice: Dice, indent: number): string {
  const { text, isBlock = false } = yamlScalar(dice, indent, false);
  if (isBlock) return ` ${text}\n`;
  return `${text === "" ? "" : " "}${text}${inline(dice)}\n`;
}

function yamlList(dice: Dice, scope: Scope, count: number): string {
  const { indent, depth } = scope;
  let out = "";
  for (let i = 0; i < count; i++) {
    out += `${yamlAbove(dice, indent, false)}${" ".repeat(indent)}-`;
    if (depth > 0 && dice.chance(25)) {
      const map = yamlMap(
        dice,
        { ...scope, depth: depth - 1, indent: indent + 2 },
        1 + dice.roll(2),
      );
      const lines = map.replace(/^(?:\s*#[^\n]*\n|\s*\n)*/, "");
      out += dice.feature("list of maps", ` ${lines.trimStart()}`);
    } else out += yamlLine(dice, indent).replace(/^( #|\n)/, " null$1");
  }
  return out;
}

function yamlFile(dice: Dice): string {
  const count = dice.chance(12) ? dice.feature("multi-document", 2 + dice.roll(2)) : 1;
  const documents = Array.from({ length: count }, () => {
    const map = yamlMap(dice, { anchors: [], indent: 0, depth: 4 }, 1 + dice.roll(6));
    return dice.chance(10) ? `${map}# the end\n` : map;
  });
  return documents.join("---\n");
}

function jsonNode(dice: Dice, depth: number): unknown {
  const kind = dice.roll(9);
  if (depth > 0 && kind < 3) return jsonMap(dice, depth - 1);
  if (depth > 0 && kind < 5)
    return dice.feature(
      "list",
      Array.from({ length: dice.roll(4) }, () => jsonNode(dice, depth - 1)),
    );
  if (kind === 5)
    return dice.feature("float", dice.pick([1.5, -0.25, 1e21, 1e-7, 123456789.125, 5e-324]));
  if (kind === 6) return dice.feature("int", dice.pick([0, -7, 42, 9007199254740991]));
  if (kind === 7) return dice.chance(50) ? dice.feature("bool", true) : dice.feature("null", null);
  return dice.pick(strings)(dice);
}

class JsonText {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

function jsonMap(dice: Dice, depth: number): JsonText {
  const taken = new Set<string>();
  const pairs = Array.from(
    { length: dice.roll(5) },
    () => `${json(keyOf(dice, taken))}: ${jsonText(jsonNode(dice, depth))}`,
  );
  return new JsonText(`{${pairs.join(dice.chance(50) ? ",\n  " : ",")}}`);
}

function jsonText(node: unknown): string {
  if (node instanceof JsonText) return node.text;
  if (Array.isArray(node)) return `[${node.map(jsonText).join(",")}]`;
  return json(node);
}

function jsonFile(dice: Dice): string {
  const map = jsonMap(dice, 4).text;
  const exact = dice.feature("int", '"exact": 9007199254740995, "one": 1.0, "kilo": 1e3');
  return map === "{}" ? `{${exact}}` : map.replace(/\}$/, `, ${exact}}`);
}

const lineValue = (dice: Dice) => dice.pick(strings)(dice).replaceAll("\n", "\\n");

function dotenvFile(dice: Dice): string {
  const taken = new Set<string>();
  return (
    Array.from({ length: 1 + dice.roll(8) }, () => {
      if (dice.chance(15)) return dice.feature("comment", `# ${dice.roll(100)}`);
      if (dice.chance(5)) return "";
      return `${keyOf(dice, taken).replaceAll("=", "").replace(/^#/, "x")}=${lineValue(dice)}`;
    }).join("\n") + (dice.chance(80) ? "\n" : "")
  );
}

function iniFile(dice: Dice): string {
  const sections = Array.from({ length: 1 + dice.roll(3) }, (_, i) => {
    const taken = new Set<string>();
    const keys = Array.from({ length: 1 + dice.roll(4) }, () => {
      const comment = dice.chance(15)
        ? dice.feature("comment", `${dice.pick([";", "#"])} note ${dice.roll(100)}\n`)
        : "";
      const key = keyOf(dice, taken).replaceAll(/[^\w ü鍵-]/g, "_");
      return key === "-" ? "" : `${comment}${key} = ${lineValue(dice).replaceAll(/[`"\\]/g, "")}\n`;
    });
    const header = i === 0 && dice.chance(30) ? "" : `[section ${i}]\n`;
    return header + keys.join("");
  });
  return sections.join("\n");
}
