import "reflect-metadata";
import { generateKeyPairSync, webcrypto } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const yearMs = 365 * 24 * 3_600_000;

/** A certificate with its key, in PEM. */
export type Identity = { readonly cert: string; readonly key: string };

/** A certificate authority of the lab. */
export type Authority = Identity & { readonly issue: (leaf: Leaf) => Promise<Identity> };

export type Leaf = {
  /** For instance `CN=admin,O=system:masters`. */
  readonly subject: string;
  readonly use: "server" | "client";
  readonly hosts?: readonly string[];
  /** Validity from now; in the past for an expired one. */
  readonly validMs?: number;
};

/** A new self-signed authority. */
export async function newAuthority(name: string): Promise<Authority> {
  x509.cryptoProvider.set(webcrypto);
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}`,
    serialNumber: serial(),
    keys: keys,
    signingAlgorithm: algorithm,
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + yearMs),
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign |
          x509.KeyUsageFlags.cRLSign |
          x509.KeyUsageFlags.digitalSignature,
        true,
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const issue = (leaf: Leaf) => issueLeaf(ca, keys.privateKey, leaf);
  return { cert: ca.toString("pem"), key: await keyPem(keys.privateKey), issue };
}

async function issueLeaf(
  ca: x509.X509Certificate,
  signingKey: webcrypto.CryptoKey,
  leaf: Leaf,
): Promise<Identity> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const names = (leaf.hosts ?? []).map(
    (host) => ({ type: /^[\d.]+$/.test(host) ? "ip" : "dns", value: host }) as const,
  );
  const purpose =
    leaf.use === "server" ? x509.ExtendedKeyUsage.serverAuth : x509.ExtendedKeyUsage.clientAuth;
  const cert = await x509.X509CertificateGenerator.create({
    subject: leaf.subject,
    issuer: ca.subject,
    serialNumber: serial(),
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm: algorithm,
    notBefore: new Date(Date.now() - 3_600_000),
    notAfter: new Date(Date.now() + (leaf.validMs ?? yearMs)),
    extensions: [
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([purpose]),
      ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension([...names])] : []),
    ],
  });
  return { cert: cert.toString("pem"), key: await keyPem(keys.privateKey) };
}

const serial = () =>
  Buffer.from(webcrypto.getRandomValues(new Uint8Array(8)))
    .toString("hex")
    .replace(/^[89a-f]/, "7");

async function keyPem(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", key)).toString("base64");
  return `-----BEGIN PRIVATE KEY-----\n${(der.match(/.{1,64}/g) ?? []).join("\n")}\n-----END PRIVATE KEY-----\n`;
}

/** The files that an API server and its admin need; made once per directory. */
export type ServerPki = { readonly dir: string; readonly ca: string; readonly admin: Identity };

/** Writes CA, serving certificate for loopback, admin certificate and ServiceAccount key into `dir`. */
export async function writeServerPki(dir: string): Promise<ServerPki> {
  await mkdir(dir, { recursive: true });
  const ca = await newAuthority("capitan-lab");
  const serving = await ca.issue({
    subject: "CN=kube-apiserver",
    use: "server",
    hosts: ["127.0.0.1", "localhost", "10.0.0.1", "kubernetes.default.svc"],
  });
  const admin = await ca.issue({ subject: "CN=admin,O=system:masters", use: "client" });
  const { privateKey } = generateKeyPairSync("rsa", {
    modulusLength: 2048,
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  });
  const files = {
    "ca.crt": ca.cert,
    "ca.key": ca.key,
    "tls.crt": serving.cert,
    "tls.key": serving.key,
    "admin.crt": admin.cert,
    "admin.key": admin.key,
    "sa.key": privateKey,
  };
  await Promise.all(
    Object.entries(files).map(([name, text]) => writeFile(join(dir, name), text, { mode: 0o600 })),
  );
  return { dir, ca: ca.cert, admin };
}

/** Reads what `writeServerPki` wrote. */
export async function readServerPki(dir: string): Promise<ServerPki> {
  const [ca, cert, key] = await Promise.all(
    ["ca.crt", "admin.crt", "admin.key"].map((name) => readFile(join(dir, name), "utf8")),
  );
  if (ca === undefined || cert === undefined || key === undefined)
    throw new Error(`no certificates in ${dir}`);
  return { dir, ca, admin: { cert, key } };
}

/** A kubeconfig with everything inline. */
export function kubeconfigOf(
  server: string,
  ca: string,
  user: { readonly identity?: Identity; readonly token?: string },
): string {
  const base64 = (text: string) => Buffer.from(text).toString("base64");
  const { identity, token } = user;
  const credentials =
    identity === undefined
      ? { token }
      : {
          "client-certificate-data": base64(identity.cert),
          "client-key-data": base64(identity.key),
        };
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "lab", cluster: { server, "certificate-authority-data": base64(ca) } }],
    users: [{ name: "lab", user: credentials }],
    contexts: [{ name: "lab", context: { cluster: "lab", user: "lab" } }],
    "current-context": "lab",
  });
}
