import { open, stat } from "node:fs/promises";

/** One request as an API server's audit log (level Metadata) has it. */
export type AuditEntry = {
  readonly verb: string;
  readonly userAgent: string;
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
  readonly subresource: string;
  readonly code: number;
};

type Line = {
  readonly verb: string;
  readonly userAgent?: string;
  readonly objectRef?: Partial<AuditEntry>;
  readonly responseStatus?: { readonly code?: number };
};

const writing = new Set(["create", "update", "patch", "delete", "deletecollection"]);

/** Where the log ends now. */
export async function markAudit(file: string): Promise<number> {
  return (await stat(file)).size;
}

/** All requests of Capitan since the mark. */
export async function requestsSince(file: string, mark: number): Promise<readonly AuditEntry[]> {
  const handle = await open(file);
  try {
    const { size } = await handle.stat();
    const { buffer } = await handle.read(Buffer.alloc(size - mark), 0, size - mark, mark);
    const lines = buffer.toString("utf8").split("\n");
    return lines
      .filter((line) => line !== "")
      .map((line) => entryOf(JSON.parse(line) as Line))
      .filter(isCapitans);
  } finally {
    await handle.close();
  }
}

/** Capitan's writes since the mark, as `verb resource namespace/name`; the renewal of its Lease is none. */
export async function writesSince(file: string, mark: number): Promise<readonly string[]> {
  const entries = await requestsSince(file, mark);
  return entries
    .filter(({ verb, resource }) => writing.has(verb) && resource !== "leases")
    .map(
      (e) =>
        `${e.verb} ${e.resource}${e.subresource === "" ? "" : `/${e.subresource}`} ${e.namespace}/${e.name}`,
    );
}

const isCapitans = ({ userAgent }: AuditEntry) => userAgent === "capitan-controller";

function entryOf({ verb, userAgent = "", objectRef = {}, responseStatus }: Line): AuditEntry {
  const { resource = "", namespace = "", name = "", subresource = "" } = objectRef;
  return {
    verb,
    userAgent,
    resource,
    namespace,
    name,
    subresource,
    code: responseStatus?.code ?? 0,
  };
}
