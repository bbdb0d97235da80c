import { CapitanError } from "../errors/index.ts";
import {
  creationRuleFor,
  encryptFile,
  type Chance,
  type CreationRule,
  type SopsConfig,
} from "../sops/index.ts";
import { withRecord, type Origin } from "./record.ts";
import type { RenderedFile } from "./render.ts";

/** A file as it goes into the repository. */
export type GeneratedFile = {
  readonly path: string;
  readonly text: string;
  /** To whom it is encrypted; undefined in plaintext. */
  readonly recipients: readonly string[] | undefined;
  readonly secrets: readonly string[];
};

/**
 * Makes files ready for the repository: what a creation rule names is encrypted, all others get their
 * record. `twins` are the same files with other secrets in them: wherever the two still differ once they
 * are encrypted, a secret would be read by everybody. Throws SecretExposed, and what encryption throws.
 */
export async function sealFiles(
  files: readonly RenderedFile[],
  twins: readonly RenderedFile[],
  { config, origin }: { readonly config: SopsConfig; readonly origin: Origin },
  chance: Chance,
): Promise<readonly GeneratedFile[]> {
  const sealed: GeneratedFile[] = [];
  for (const file of files) {
    const { path, content, secrets } = file;
    const rule = ruleFor(config, path);
    const twin = twins.find((other) => other.path === path);
    if (rule === undefined && secrets.length > 0)
      throw exposed(file, "and no rule of .sops.yaml encrypts it");
    const text =
      rule === undefined
        ? withRecord(content, origin)
        : await encrypted(file, twin, { rule, config }, chance);
    sealed.push({ path, text, secrets, recipients: rule?.groups.flat() });
  }
  return sealed;
}

/** The rule for a file; undefined when it is to stay in plaintext. Throws SopsConfigInvalid. */
function ruleFor(config: SopsConfig, path: string): CreationRule | undefined {
  return config.rules.some(({ matches }) => matches(path))
    ? creationRuleFor(config, path)
    : undefined;
}

type Encryption = { readonly rule: CreationRule; readonly config: SopsConfig };

async function encrypted(
  file: RenderedFile,
  twin: RenderedFile | undefined,
  encryption: Encryption,
  chance: Chance,
): Promise<string> {
  const text = await encrypt(file.content, encryption, chance);
  if (file.secrets.length === 0) return text;
  const other = twin === undefined ? "" : await encrypt(twin.content, encryption, chance);
  if (publicPart(text) === publicPart(other)) return text;
  throw exposed(file, "and its rule of .sops.yaml leaves the place in plaintext");
}

async function encrypt(
  content: string,
  { rule, config }: Encryption,
  chance: Chance,
): Promise<string> {
  const { groups, threshold, rule: which, macOnlyEncrypted } = rule;
  const { layout } = config;
  const options = {
    format: "yaml",
    groups,
    threshold,
    rule: which,
    macOnlyEncrypted,
    layout,
  } as const;
  return (await encryptFile(Buffer.from(content), options, chance)).toString();
}

/** What everybody can read of an encrypted file: without ciphertexts and metadata. */
export function publicPart(text: string): string {
  return text
    .replaceAll(/ENC\[AES256_GCM,[^\]]*\]/g, "(encrypted)")
    .replaceAll(/^sops:\n(?:[ \t]+[^\n]*\n|\n)*/gm, "");
}

function exposed({ path, secrets }: RenderedFile, what: string): CapitanError {
  return new CapitanError("SecretExposed", `${path} holds ${secrets.join(", ")}, ${what}`);
}
